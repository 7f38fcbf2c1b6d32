"""The C sources of a library: its header, the function that calls the kernels, and an example that calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

from .tensors import CTensor

if TYPE_CHECKING:
    from ...schedules.c_library.plan import Place, Plan

_HEADER = Template("""\
/* $name: $about.
 *
 * lib$name.a needs libm and nothing else:
 *
 *     $compiler -O2 main.c -L. -l$name -lm -o $name
 *
 * It allocates nothing, keeps nothing and starts no threads: any number of threads may run it, each with a workspace of
 * its own. A kernel takes a few kB of the stack.
 */
#ifndef $NAME_H
#define $NAME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the address of each input, each output and the workspace must be a multiple of. */
#define $NAME_ALIGNMENT $alignment
#define $NAME_WORKSPACE_BYTES $workspace

/* Elements of each tensor, the last axis the fastest. */
$sizes

#define $NAME_OK 0
#define $NAME_ERROR_NULL 1      /* a pointer is null */
#define $NAME_ERROR_ALIGNMENT 2 /* an address is no multiple of $NAME_ALIGNMENT */

/* Runs the model once. Inputs, outputs and workspace must not overlap. Returns $NAME_OK or an error from above. */
int ${name}_run($parameters);

#ifdef __cplusplus
}
#endif

#endif
""")

_ENTRY = Template("""\
#include "$name.h"

#include <stddef.h>
#include <string.h>

extern const unsigned char ${name}_weights[];

$declarations

int ${name}_run($parameters)
{
    const void *const given[] = {$arguments};
    unsigned char *const at = workspace;

    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        if (given[i] == NULL)
            return $NAME_ERROR_NULL;
        if ((uintptr_t)given[i] % $NAME_ALIGNMENT)
            return $NAME_ERROR_ALIGNMENT;
    }
$calls
    return $NAME_OK;
}
""")

_MAIN = Template("""\
/* Runs $name once: reads each input from a file of its raw numbers, and prints each output, an element a line.
 *
 *     $compiler -O2 main.c -L. -l$name -lm -o $name
 *     ./$name $files
 *
 * In Python, array.tofile("x.bin") writes such a file.
 */
#include <stdio.h>

#include "$name.h"

$arrays

static int read_file(const char *path, void *data, size_t bytes)
{
    FILE *file = fopen(path, "rb");
    size_t count = file ? fread(data, 1, bytes, file) : 0;
    int is_whole = count == bytes && fgetc(file) == EOF;

    if (file)
        fclose(file);
    if (!is_whole)
        fprintf(stderr, "%s: expected a file of %zu bytes\\n", path, bytes);
    return !is_whole;
}

int main(int argc, char **argv)
{
    int error;

    if (argc != $argc) {
        fprintf(stderr, "usage: %s $files\\n", argv[0]);
        return 2;
    }
$reads
    error = ${name}_run($arguments);
    if (error) {
        fprintf(stderr, "${name}_run returned %d\\n", error);
        return 1;
    }
$prints
    return 0;
}
""")


@dataclass(frozen=True)
class Sources:
    """What the texts are made of.

    Attributes
    ----------
    name : of the library, an identifier.
    about : what the model is, for the header: scheme and target.
    compiler : the command that compiles the example.
    """

    name: str
    about: str
    compiler: str
    inputs: Sequence[CTensor]
    outputs: Sequence[CTensor]
    alignment: int
    workspace_bytes: int

    def header(self) -> str:
        """Return the text of ``NAME.h``."""
        sizes = [
            f"#define {self._size(tensor)} {tensor.size} /* {tensor.text} */"
            for tensor in (*self.inputs, *self.outputs)
        ]
        return self._filled(
            _HEADER,
            about=self.about,
            alignment=self.alignment,
            workspace=self.workspace_bytes,
            sizes="\n".join(sizes),
        )

    def entry(self, plan: Plan) -> str:
        """Return the text of the function that calls the kernels in order."""
        counts = {kernel: len(places) for kernel, places in plan.calls}
        declared = [
            f"void {self.name}_{kernel}({', '.join(['const void *'] * count)});"
            for kernel, count in counts.items()
        ]
        calls = [
            f"    {self.name}_{kernel}({', '.join(map(self._place, places))});"
            for kernel, places in plan.calls
        ]
        copies = [
            f"    memcpy({self._place(output)}, {self._place(source)}, sizeof(*{self._place(output)}) * "
            f"{self._size(self.outputs[output.at])});"
            for source, output in plan.copies
        ]
        return self._filled(_ENTRY, declarations="\n".join(declared), calls="\n".join(calls + copies))

    def main(self) -> str:
        """Return the text of the example."""
        arrays = [
            f"static _Alignas({self._upper}_ALIGNMENT) unsigned char workspace[{self._upper}_WORKSPACE_BYTES];"
        ]
        arrays += [
            f"static _Alignas({self._upper}_ALIGNMENT) {tensor.type} {tensor.name}[{self._size(tensor)}];"
            for tensor in (*self.inputs, *self.outputs)
        ]
        reads = [
            f"    if (read_file(argv[{place}], {tensor.name}, sizeof {tensor.name}))\n        return 1;"
            for place, tensor in enumerate(self.inputs, 1)
        ]
        return self._filled(
            _MAIN,
            files=" ".join(f"{tensor.name}.bin" for tensor in self.inputs),
            arrays="\n".join(arrays),
            argc=len(self.inputs) + 1,
            reads="\n".join(reads),
            prints="\n".join(map(self._print, self.outputs)),
        )

    @property
    def _upper(self) -> str:
        return self.name.upper()

    def _filled(self, template: Template, **texts: object) -> str:
        """Return a template with the given texts, and what all templates have."""
        parameters = [f"const {tensor.type} *{tensor.name}" for tensor in self.inputs]
        parameters += [f"{tensor.type} *{tensor.name}" for tensor in self.outputs]
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        common = {
            "name": self.name,
            "compiler": self.compiler,
            "parameters": ", ".join([*parameters, "void *workspace"]),
            "arguments": ", ".join([*names, "workspace"]),
        }
        # "$NAME_OK": the underscore would be taken for a part of the variable.
        text = template.template.replace("$NAME", self._upper)
        return Template(text).substitute(**common, **texts)

    def _size(self, tensor: CTensor) -> str:
        return f"{self.name}_{tensor.name}_size".upper()

    def _place(self, place: Place) -> str:
        if place.memory == "workspace":
            return f"at + {place.at}"
        if place.memory == "weights":
            return f"{self.name}_weights + {place.at}"
        return (self.inputs if place.memory == "input" else self.outputs)[place.at].name

    def _print(self, tensor: CTensor) -> str:
        """Return a loop that prints a tensor so that reading it gives the same numbers."""
        digits, kind = {"float": (9, "double"), "double": (17, "double")}.get(tensor.type, (0, "long long"))
        form = f"%.{digits}g" if digits else "%lld"
        return (
            f"    for (size_t i = 0; i < {self._size(tensor)}; i++)\n"
            f'        printf("{tensor.name} {form}\\n", ({kind}){tensor.name}[i]);'
        )
