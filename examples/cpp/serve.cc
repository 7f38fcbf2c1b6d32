// An application that runs a package on several threads: each has a session, all share the model's weights.
//
//   serve FOLDER THREADS RUNS < input > output
//
// FOLDER holds the package's members, mod.so and mod.json. The model has one input and one output; both are
// raw values in C order. Every run must give what the first one gave.
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tvmq.h"

namespace {

std::vector<char> Read(std::istream& stream, size_t bytes) {
  std::vector<char> data(bytes);
  if (!stream.read(data.data(), static_cast<std::streamsize>(bytes))) {
    throw std::runtime_error("the input has " + std::to_string(bytes) + " bytes");
  }
  return data;
}

// Returns how many runs gave something else than expected.
int Client(const tvmq::Model& model, const std::vector<char>& input, const std::vector<char>& expected,
           int runs) {
  tvmq::Session session(model);
  std::vector<char> output(expected.size());
  int wrong = 0;
  for (int i = 0; i < runs; ++i) {
    session.Run({input.data()}, {output.data()});
    wrong += output != expected;
  }
  return wrong;
}

void Main(const std::string& folder, int threads, int runs) {
  tvmq::Model model(folder);
  std::vector<char> input = Read(std::cin, model.inputs().at(0).bytes);
  std::vector<char> output(model.outputs().at(0).bytes);
  tvmq::Session(model).Run({input.data()}, {output.data()});

  std::vector<int> wrong(threads);
  std::vector<std::thread> clients;
  for (int i = 0; i < threads; ++i) {
    clients.emplace_back([&, i] { wrong[i] = Client(model, input, output, runs); });
  }
  for (std::thread& client : clients) client.join();
  for (int count : wrong) {
    if (count > 0) throw std::runtime_error(std::to_string(count) + " runs went wrong");
  }
  std::cout.write(output.data(), static_cast<std::streamsize>(output.size()));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 4) throw std::runtime_error("usage: serve FOLDER THREADS RUNS < input > output");
    Main(argv[1], std::atoi(argv[2]), std::atoi(argv[3]));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "serve: error: " << error.what() << std::endl;
    return 1;
  }
}
