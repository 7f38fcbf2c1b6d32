// TVM's RPC tracker, as a device sees it: it offers itself under a key until somebody takes it.
#ifndef TVMQ_RUNTIME_TRACKER_H_
#define TVMQ_RUNTIME_TRACKER_H_

#include <string>

#include "socket.h"

namespace tvmq {

// Every function throws std::runtime_error where the tracker is gone.
class Tracker {
 public:
  // Registers a server of this machine that listens at `port`.
  Tracker(const std::string& host, int tracker_port, const std::string& key, int port);

  // Offers the device to the next client, which will say `match_key`.
  void Offer();
  const std::string& match_key() const { return match_key_; }

  // To be called every `kPeriod` while nobody comes. A client that took the device and has not come in three
  // periods will not: then the device is offered anew.
  void Wait();
  static constexpr int kPeriod = 2000;  // ms

 private:
  std::string Ask(const std::string& request) const;

  Socket socket_;
  std::string key_;
  int port_;
  std::string match_key_;
  int periods_taken_ = 0;
};

}  // namespace tvmq

#endif  // TVMQ_RUNTIME_TRACKER_H_
