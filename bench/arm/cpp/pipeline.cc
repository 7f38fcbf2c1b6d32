// Cycles of instruction sequences in LLVM's model of a core, by the library of llvm-mca.
//
//   pipeline CPU < LINES > CYCLES
//
// A line has a number and the instructions' bytes in hexadecimal; a line of the output the cycles of the
// sequence in the steady state: (cycles of 2 N repetitions - cycles of N) / N, for the line's number N. What
// LLVM cannot read or has no schedule for is left out.
//
// Beside llvm-mca itself it mends what would hide the differences between kernels:
//   - In order, llvm-mca has all results written in order, so that a load behind a multiplication of 10
//   cycles waits 7.
//     The cores let results of different pipes overtake each other.
//   - The new address of "ldr x0, [x1], #8" is there after a cycle, not with the data, and in order it takes
//   no slot.
//   - The a53 and a55 load 64 bits a cycle, and the a55's two pipes of floats are 64 bits wide.
#include <llvm/ADT/StringExtras.h>
#include <llvm/MC/MCAsmInfo.h>
#include <llvm/MC/MCContext.h>
#include <llvm/MC/MCDisassembler/MCDisassembler.h>
#include <llvm/MC/MCInst.h>
#include <llvm/MC/MCInstrAnalysis.h>
#include <llvm/MC/MCInstrInfo.h>
#include <llvm/MC/MCRegisterInfo.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/MCTargetOptions.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/MCA/Context.h>
#include <llvm/MCA/CustomBehaviour.h>
#include <llvm/MCA/InstrBuilder.h>
#include <llvm/MCA/Pipeline.h>
#include <llvm/MCA/SourceMgr.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Triple.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

using namespace llvm;

namespace {

constexpr size_t kWord = 4;

class Core {
 public:
  explicit Core(const std::string& cpu)
      : is_narrow_(cpu == "cortex-a53" || cpu == "cortex-a55"), is_a55_(cpu == "cortex-a55") {
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64Disassembler();
    std::string error;
    const Target* target = TargetRegistry::lookupTarget(kTriple, error);
    registers_.reset(target->createMCRegInfo(kTriple));
    assembly_.reset(target->createMCAsmInfo(*registers_, kTriple, MCTargetOptions()));
    subtarget_.reset(target->createMCSubtargetInfo(kTriple, cpu, "+all"));
    instructions_.reset(target->createMCInstrInfo());
    analysis_.reset(target->createMCInstrAnalysis(instructions_.get()));
    context_ =
        std::make_unique<MCContext>(Triple(kTriple), assembly_.get(), registers_.get(), subtarget_.get());
    disassembler_.reset(target->createMCDisassembler(*subtarget_, *context_));
    instruments_ = std::make_unique<mca::InstrumentManager>(*subtarget_, *instructions_);
  }

  double Cycles(const std::string& code, unsigned repetitions) const {
    // A call costs nothing but its own cycle: the blocks of what it calls count themselves.
    mca::InstrBuilder builder(*subtarget_, *instructions_, *registers_, analysis_.get(), *instruments_, 1);
    std::set<const mca::InstrDesc*> mended;
    std::vector<std::unique_ptr<mca::Instruction>> sequence;
    for (size_t at = 0; at + kWord <= code.size(); at += kWord) {
      MCInst instruction;
      uint64_t size;
      ArrayRef<uint8_t> bytes(reinterpret_cast<const uint8_t*>(code.data()) + at, kWord);
      if (disassembler_->getInstruction(instruction, size, bytes, 0, nulls()) != MCDisassembler::Success)
        continue;
      auto built = builder.createInstruction(instruction, {});
      if (!built) {
        consumeError(built.takeError());
        continue;
      }
      (*built)->setRetireOOO(true);
      // Instructions that are alike share a description.
      auto& description = const_cast<mca::InstrDesc&>((*built)->getDesc());
      if (mended.insert(&description).second) Mend(instruction, description);
      sequence.push_back(std::move(*built));
    }
    if (sequence.empty()) return 0;
    double once = Run(sequence, repetitions);
    return (Run(sequence, 2 * repetitions) - once) / repetitions;
  }

 private:
  static constexpr char kTriple[] = "aarch64-linux-gnu";

  void Mend(const MCInst& instruction, mca::InstrDesc& description) const {
    const MCInstrDesc& opcode = instructions_->get(instruction.getOpcode());
    bool is_access = opcode.mayLoad() || opcode.mayStore();
    for (mca::WriteDescriptor& write : description.Writes) {
      if (!is_access || write.isImplicitWrite()) continue;
      const MCOperand& result = instruction.getOperand(write.OpIndex);
      for (unsigned i = opcode.getNumDefs(); i < opcode.getNumOperands(); ++i) {
        if (opcode.getOperandConstraint(i, MCOI::TIED_TO) != write.OpIndex || !Is("GPR64sp", result))
          continue;
        write.Latency = 1;
        description.NumMicroOps -= is_narrow_;
      }
    }
    unsigned cycles = NarrowCycles(instruction, opcode);
    for (auto& [mask, usage] : description.Resources)
      if (cycles) usage.CS = mca::CycleSegment(0, cycles, usage.isReserved());
  }

  // Returns for how many cycles an instruction of 128 bits keeps its units of 64; 0 where the model knows.
  unsigned NarrowCycles(const MCInst& instruction, const MCInstrDesc& opcode) const {
    if (!is_narrow_ || !HasQuad(instruction, opcode)) return 0;
    StringRef name = instructions_->getName(instruction.getOpcode());
    if (name.starts_with("LDPQ")) return 4;
    if (name.starts_with("LDRQ") || name.starts_with("LDURQ") || name.starts_with("LD1One")) return 2;
    return is_a55_ && (name.starts_with("F") || name.contains("CVT")) ? 2 : 0;
  }

  bool HasQuad(const MCInst& instruction, const MCInstrDesc& opcode) const {
    for (unsigned i = 0; i < opcode.getNumDefs(); ++i)
      if (Is("FPR128", instruction.getOperand(i))) return true;
    return false;
  }

  bool Is(StringRef name, const MCOperand& operand) const {
    if (!operand.isReg()) return false;
    for (const MCRegisterClass& each : registers_->regclasses())
      if (registers_->getRegClassName(&each) == name) return each.contains(operand.getReg());
    return false;
  }

  unsigned Run(ArrayRef<std::unique_ptr<mca::Instruction>> sequence, unsigned repetitions) const {
    mca::CircularSourceMgr source(sequence, repetitions);
    mca::Context context(*registers_, *subtarget_);
    mca::CustomBehaviour behaviour(*subtarget_, source, *instructions_);
    // Zeros: as the model has it. Accesses are taken to be of different places.
    mca::PipelineOptions options(0, 0, 0, 0, 0, 0, true);
    auto pipeline = context.createDefaultPipeline(options, source, behaviour);
    return cantFail(pipeline->run());
  }

  bool is_narrow_, is_a55_;
  std::unique_ptr<MCRegisterInfo> registers_;
  std::unique_ptr<MCAsmInfo> assembly_;
  std::unique_ptr<MCSubtargetInfo> subtarget_;
  std::unique_ptr<MCInstrInfo> instructions_;
  std::unique_ptr<MCInstrAnalysis> analysis_;
  std::unique_ptr<MCContext> context_;
  std::unique_ptr<MCDisassembler> disassembler_;
  std::unique_ptr<mca::InstrumentManager> instruments_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: pipeline CPU < LINES" << std::endl;
    return 2;
  }
  Core core(argv[1]);
  unsigned repetitions;
  std::string code;
  while (std::cin >> repetitions >> code) std::printf("%.4f\n", core.Cycles(fromHex(code), repetitions));
  return 0;
}
