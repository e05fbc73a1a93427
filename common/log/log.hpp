// Log lines with an identifier. The only place that includes spdlog.
//
//   log_info("BROKER_BINDING_ACCEPTED", "user={} address={}", user, address);
// writes to standard error (the journal adds the time under systemd):
//   2026-11-03T14:00:01.123Z INFO  BROKER_BINDING_ACCEPTED user=alice address=192.0.2.7
//
// The identifier is a string literal, unique, upper case, and has a paragraph for the operator in
// docs/events.md (a test compares them). Values that came from a peer are written through
// `quoted()`, so that they cannot break or forge a line.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <spdlog/fmt/fmt.h>

namespace dstm::log {

enum class Level { debug, info, warning, error };

// "debug", "info", "warning", "error"; false when the name is none of them.
[[nodiscard]] bool set_level(std::string_view name);
void write(Level level, std::string_view id, std::string_view text);
// Printable ASCII, other bytes as \xNN, cut at 200 characters with "...".
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace dstm::log

namespace dstm {

template <class... Args>
void log_debug(std::string_view id, fmt::format_string<Args...> format, Args&&... args) {
    log::write(log::Level::debug, id, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(std::string_view id, fmt::format_string<Args...> format, Args&&... args) {
    log::write(log::Level::info, id, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(std::string_view id, fmt::format_string<Args...> format, Args&&... args) {
    log::write(log::Level::warning, id, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(std::string_view id, fmt::format_string<Args...> format, Args&&... args) {
    log::write(log::Level::error, id, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace dstm
