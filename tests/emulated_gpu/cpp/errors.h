// Errors: a code of CUDA's, and a text that says what is wrong, for the host thread that asks next.
#pragma once

#include <string>

namespace tvmq_emulated {

enum Code {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  INVALID_IMAGE = 200,
  NOT_FOUND = 500,
  LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801,
  NOT_WHILE_CAPTURING = 900,
};

// Keeps the text for ErrorText(code), and gives the code.
Code Error(Code code, const std::string& text);
const char* ErrorText(int code);

// printf into a string.
std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace tvmq_emulated
