#include "errors.h"

#include <cstdarg>
#include <cstdio>

namespace tvmq_emulated {

namespace {
thread_local std::string text_of_last;
thread_local int last = SUCCESS;
}  // namespace

Code Error(Code code, const std::string& text) {
  text_of_last = text;
  last = code;
  return code;
}

const char* ErrorText(int code) {
  if (code == last && code != SUCCESS) return text_of_last.c_str();
  switch (code) {
    case SUCCESS:
      return "no error";
    case INVALID_VALUE:
      return "INVALID_VALUE";
    case OUT_OF_MEMORY:
      return "OUT_OF_MEMORY";
    case INVALID_IMAGE:
      return "INVALID_IMAGE";
    case NOT_FOUND:
      return "NOT_FOUND";
    case LAUNCH_FAILED:
      return "LAUNCH_FAILED";
    case NOT_SUPPORTED:
      return "NOT_SUPPORTED";
    case NOT_WHILE_CAPTURING:
      return "NOT_WHILE_CAPTURING";
    default:
      return "unknown error";
  }
}

std::string Format(const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

}  // namespace tvmq_emulated
