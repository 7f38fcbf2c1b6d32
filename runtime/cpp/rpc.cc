// tvmq-rpc: lends this machine to tvmc run and tvmc tune, as TVM's RPC server does in Python.
//
//   tvmq-rpc [--tracker HOST:PORT --key KEY] [--port FIRST[-LAST]]
//
// One client at a time has the machine, in a process of its own. Whoever reaches the port can run any code
// here.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

#include "machine.h"
#include "socket.h"
#include "tracker.h"

namespace {

namespace ffi = tvm::ffi;
using tvmq::Socket;
using tvmq::Tracker;

constexpr char kUsage[] = "usage: tvmq-rpc [--tracker HOST:PORT --key KEY] [--port FIRST[-LAST]]";
constexpr int32_t kMagic = 0xFF271, kMismatch = kMagic + 2;  // of TVM's RPC
constexpr int kPatience = 5;                                 // seconds, for a client to say what it wants
constexpr int kRetry = 2000;                                 // milliseconds, before the tracker is tried again
constexpr char kNobody[] = " ";                              // a key that no client has: blanks end theirs

struct Arguments {
  std::string tracker;
  int tracker_port = 9190;
  std::string key;
  int first_port = 9090;
  int last_port = 9199;
};

int ParsePort(const std::string& text) {
  char* end = nullptr;
  long port = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end || port < 0 || port > 65535) throw std::runtime_error("bad port " + text);
  return static_cast<int>(port);
}

Arguments Parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; i += 2) {
    std::string word = argv[i];
    if (i + 1 == argc) throw std::runtime_error(kUsage);
    std::string value = argv[i + 1];
    if (word == "--tracker") {
      size_t colon = value.rfind(':');
      arguments.tracker = value.substr(0, colon);
      if (colon != std::string::npos) arguments.tracker_port = ParsePort(value.substr(colon + 1));
    } else if (word == "--key") {
      arguments.key = value;
    } else if (word == "--port") {
      size_t dash = value.find('-');
      arguments.first_port = ParsePort(value.substr(0, dash));
      arguments.last_port =
          dash == std::string::npos ? arguments.first_port : ParsePort(value.substr(dash + 1));
    } else {
      throw std::runtime_error("unknown option " + word + "\n" + kUsage);
    }
  }
  if (arguments.tracker.empty() != arguments.key.empty()) {
    throw std::runtime_error("--tracker and --key belong together");
  }
  return arguments;
}

// Seconds that a client asks for by "-timeout=60" among the words of its key; 0 is no limit.
double TimeLimit(std::istringstream& words) {
  constexpr char kOption[] = "-timeout=";
  double seconds = 0;
  for (std::string word; words >> word;) {
    if (word.rfind(kOption, 0) == 0) seconds = std::atof(word.c_str() + std::strlen(kOption));
  }
  return seconds;
}

// In the client's own process: answers its calls until it goes. Its files are in `folder`.
[[noreturn]] void Serve(int file, const std::filesystem::path& folder, double seconds) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  itimerval limit{};
  limit.it_value.tv_sec = static_cast<time_t>(seconds);
  limit.it_value.tv_usec = static_cast<suseconds_t>((seconds - std::floor(seconds)) * 1e6);
  setitimer(ITIMER_REAL, &limit, nullptr);
  auto path = [folder](const std::string& name) {
    return (folder / std::filesystem::path(name).filename()).string();
  };
  // What the client's calls end in; the rest of them is in TVM's runtime.
  auto define = [](const char* name, auto function) {
    ffi::Function::SetGlobal(name, ffi::Function::FromTyped(function), true);
  };
  define("tvm.rpc.server.workpath", [path](const std::string& name) { return path(name); });
  define("tvm.rpc.server.load_module",
         [path](const std::string& name) { return ffi::Module::LoadFromFile(path(name)); });
  define("tvmq.machine", [] {
    std::string words = tvmq::Architecture();
    for (const std::string& feature : tvmq::Features()) words += " " + feature;
    return words;
  });
  try {
    ffi::Function::GetGlobalRequired("rpc.ServerLoop")(file);
    _exit(0);
  } catch (const std::exception& error) {
    std::cerr << "tvmq-rpc: " << error.what() << std::endl;
  }
  _exit(1);
}

// Gives the client a process and waits for its end. One that did not end by itself is told why.
void ServeInProcess(const Socket& client, double seconds) {
  std::string folder = (std::filesystem::temp_directory_path() / "tvmq-rpc-XXXXXX").string();
  if (mkdtemp(&folder[0]) == nullptr) throw std::runtime_error("cannot make a folder such as " + folder);
  pid_t child = fork();
  if (child == 0) Serve(client.file(), folder, seconds);
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
  std::filesystem::remove_all(folder);
  if (child < 0) throw std::runtime_error("cannot start a process");
  if (!WIFSIGNALED(status)) return;
  std::string reason = WTERMSIG(status) == SIGALRM
                           ? "the session took longer than its time limit"
                           : std::string("the program died on the device: ") + strsignal(WTERMSIG(status));
  ffi::Function::GetGlobalRequired("rpc.ReturnException")(client.file(), reason);
}

// Lets a client in that knows the key, and serves it.
void Meet(const Socket& client, const std::string& match_key, const std::string& key) {
  client.SetPatience(kPatience);
  if (client.ReceiveNumber() != kMagic) return;
  std::istringstream words(client.ReceiveText());
  std::string name;
  words >> name;
  if (name != "client:" + match_key) return client.Send(kMismatch);
  client.Send(kMagic);
  client.Send("server:" + key);
  client.SetPatience(0);
  ServeInProcess(client, TimeLimit(words));
}

// Meets the next client; one that fails is only named.
void Receive(const Socket& listener, const std::string& match_key, const std::string& key) {
  try {
    Meet(listener.Accept(), match_key, key);
  } catch (const std::exception& error) {
    std::cerr << "tvmq-rpc: a client failed: " << error.what() << std::endl;
  }
}

// Serves clients, each after the one before, until the tracker is gone; for ever without one.
void Lend(const Socket& listener, const Arguments& arguments) {
  std::unique_ptr<Tracker> tracker;
  if (!arguments.tracker.empty()) {
    tracker =
        std::make_unique<Tracker>(arguments.tracker, arguments.tracker_port, arguments.key, listener.Port());
  }
  while (true) {
    if (tracker) tracker->Offer();
    while (!listener.WaitFor(Tracker::kPeriod)) {
      if (tracker) tracker->Wait();
    }
    Receive(listener, tracker ? tracker->match_key() : "", arguments.key);
  }
}

void Main(int argc, char** argv) {
  Arguments arguments = Parse(argc, argv);
  Socket listener = Socket::Listen(arguments.first_port, arguments.last_port);
  std::printf("tvmq-rpc: %s at port %d\n", tvmq::Architecture().c_str(), listener.Port());
  std::fflush(stdout);
  std::string said;
  while (true) {
    try {
      Lend(listener, arguments);
    } catch (const std::exception& error) {
      if (said != error.what()) {
        std::cerr << "tvmq-rpc: no tracker at " << error.what() << "; trying again" << std::endl;
      }
      said = error.what();
    }
    // A client would wait for as long as the tracker stays away.
    if (listener.WaitFor(kRetry)) Receive(listener, kNobody, arguments.key);
  }
}

}  // namespace

int main(int argc, char** argv) {
  // A client that is gone must end its call, not this program.
  signal(SIGPIPE, SIG_IGN);
  try {
    Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "tvmq-rpc: error: " << error.what() << std::endl;
  }
  return 1;
}
