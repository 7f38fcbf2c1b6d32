#include "socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace tvmq {
namespace {

constexpr int32_t kLongestText = 1 << 20;  // bytes; all texts are short

[[noreturn]] void Fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

}  // namespace

Socket Socket::Listen(int first, int last) {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  setsockopt(socket.file_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  for (int port = first; port <= last; ++port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (bind(socket.file_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
      if (listen(socket.file_, 1) != 0) Fail("cannot listen at port " + std::to_string(port));
      return socket;
    }
  }
  Fail("no free port from " + std::to_string(first) + " to " + std::to_string(last));
}

Socket Socket::Connect(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0) throw std::runtime_error(host + ": " + gai_strerror(code));
  for (addrinfo* each = found; each != nullptr; each = each->ai_next) {
    Socket socket(::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol));
    if (connect(socket.file_, each->ai_addr, each->ai_addrlen) == 0) {
      freeaddrinfo(found);
      return socket;
    }
  }
  freeaddrinfo(found);
  Fail(host + ":" + std::to_string(port));
}

Socket::~Socket() {
  if (file_ >= 0) close(file_);
}

int Socket::Port() const {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  getsockname(file_, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

bool Socket::WaitFor(int milliseconds) const {
  pollfd waiting{file_, POLLIN, 0};
  return poll(&waiting, 1, milliseconds) > 0;
}

Socket Socket::Accept() const {
  int file = accept4(file_, nullptr, nullptr, SOCK_CLOEXEC);
  if (file < 0) Fail("cannot accept a connection");
  return Socket(file);
}

void Socket::SetPatience(int seconds) const {
  timeval time{seconds, 0};
  setsockopt(file_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
}

void Socket::Send(int32_t number) const { SendAll(&number, sizeof(number)); }

void Socket::Send(const std::string& text) const {
  // In one piece: the network holds a second small one back until the first is acknowledged.
  auto size = static_cast<int32_t>(text.size());
  std::string message(reinterpret_cast<const char*>(&size), sizeof(size));
  message += text;
  SendAll(message.data(), message.size());
}

int32_t Socket::ReceiveNumber() const {
  int32_t number = 0;
  ReceiveAll(&number, sizeof(number));
  return number;
}

std::string Socket::ReceiveText() const {
  int32_t size = ReceiveNumber();
  if (size < 0 || size > kLongestText) throw std::runtime_error("the other side speaks another language");
  std::string text(static_cast<size_t>(size), ' ');
  ReceiveAll(&text[0], text.size());
  return text;
}

void Socket::SendAll(const void* data, size_t size) const {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    ssize_t sent = send(file_, next, size, MSG_NOSIGNAL);
    if (sent <= 0) Fail("connection lost");
    next += sent;
    size -= static_cast<size_t>(sent);
  }
}

void Socket::ReceiveAll(void* data, size_t size) const {
  char* next = static_cast<char*>(data);
  while (size > 0) {
    ssize_t received = recv(file_, next, size, 0);
    if (received == 0) throw std::runtime_error("connection closed");
    if (received < 0) Fail("connection lost");
    next += received;
    size -= static_cast<size_t>(received);
  }
}

}  // namespace tvmq
