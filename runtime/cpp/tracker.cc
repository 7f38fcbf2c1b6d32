#include "tracker.h"

#include <tvm/ffi/extra/json.h>

#include <random>
#include <stdexcept>

namespace tvmq {
namespace {

constexpr int32_t kMagic = 0x2F271;  // of TVM's tracker
constexpr int kPatience = 20;        // seconds, for an answer
constexpr int kPeriodsTaken = 3;

// TVM's numbers of requests.
enum Request { kPut = 3, kUpdateInfo = 5, kPending = 7 };

std::string Quoted(const std::string& text) {
  return tvm::ffi::json::Stringify(tvm::ffi::json::Value(tvm::ffi::String(text)));
}

std::string Message(Request request, const std::string& rest = "") {
  return "[" + std::to_string(request) + rest + "]";
}

}  // namespace

Tracker::Tracker(const std::string& host, int tracker_port, const std::string& key, int port)
    : socket_(Socket::Connect(host, tracker_port)), key_(key), port_(port) {
  socket_.SetPatience(kPatience);
  socket_.Send(kMagic);
  if (socket_.ReceiveNumber() != kMagic) throw std::runtime_error("no RPC tracker answers");
  std::string address = "[null, " + std::to_string(port_) + "]";
  Ask(Message(kUpdateInfo, ", {\"key\": " + Quoted("server:" + key_) + ", \"addr\": " + address + "}"));
}

void Tracker::Offer() {
  std::random_device random;
  match_key_ = key_ + ":" + std::to_string(random()) + std::to_string(random());
  periods_taken_ = 0;
  std::string place = "[" + std::to_string(port_) + ", " + Quoted(match_key_) + "]";
  Ask(Message(kPut, ", " + Quoted(key_) + ", " + place + ", null"));
}

void Tracker::Wait() {
  bool is_free = Ask(Message(kPending)).find(Quoted(match_key_)) != std::string::npos;
  periods_taken_ = is_free ? 0 : periods_taken_ + 1;
  if (periods_taken_ > kPeriodsTaken) Offer();
}

std::string Tracker::Ask(const std::string& request) const {
  socket_.Send(request);
  return socket_.ReceiveText();
}

}  // namespace tvmq
