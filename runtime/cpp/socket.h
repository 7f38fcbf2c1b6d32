// TCP connections as TVM's RPC uses them: numbers of 32 bits, and texts behind their lengths.
#ifndef TVMQ_RUNTIME_SOCKET_H_
#define TVMQ_RUNTIME_SOCKET_H_

#include <cstdint>
#include <string>

namespace tvmq {

// Every function throws std::runtime_error where the other side is gone.
class Socket {
 public:
  // Listens on all addresses of this machine at the first free port from `first` to `last`.
  static Socket Listen(int first, int last);
  static Socket Connect(const std::string& host, int port);

  Socket(Socket&& other) noexcept : file_(other.file_) { other.file_ = -1; }
  Socket& operator=(Socket&&) = delete;
  ~Socket();

  int file() const { return file_; }
  int Port() const;  // that it listens at

  bool WaitFor(int milliseconds) const;  // whether there is something to read, or somebody to accept
  Socket Accept() const;
  void SetPatience(int seconds) const;  // how long the other side may be silent; 0 is for ever

  void Send(int32_t number) const;
  void Send(const std::string& text) const;
  int32_t ReceiveNumber() const;
  std::string ReceiveText() const;

 private:
  explicit Socket(int file) : file_(file) {}
  void SendAll(const void* data, size_t size) const;
  void ReceiveAll(void* data, size_t size) const;

  int file_;
};

}  // namespace tvmq

#endif  // TVMQ_RUNTIME_SOCKET_H_
