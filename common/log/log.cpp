// The log's lines, written by spdlog.
#include "common/log/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace dstm::log {
namespace {

constexpr std::size_t quoted_size_max = 200;

spdlog::logger& logger() {
    static const auto instance = [] {
        auto made = spdlog::stderr_logger_mt("dstm");
        auto formatter = std::make_unique<spdlog::pattern_formatter>(
            "%Y-%m-%dT%H:%M:%S.%eZ %-7l %v", spdlog::pattern_time_type::utc);
        made->set_formatter(std::move(formatter));
        made->flush_on(spdlog::level::debug);
        return made;
    }();
    return *instance;
}

spdlog::level::level_enum native(Level level) {
    switch (level) {
        case Level::debug: return spdlog::level::debug;
        case Level::info: return spdlog::level::info;
        case Level::warning: return spdlog::level::warn;
        case Level::error: return spdlog::level::err;
    }
    return spdlog::level::err;
}

}  // namespace

bool set_level(std::string_view name) {
    if (name == "debug")
        logger().set_level(spdlog::level::debug);
    else if (name == "info")
        logger().set_level(spdlog::level::info);
    else if (name == "warning")
        logger().set_level(spdlog::level::warn);
    else if (name == "error")
        logger().set_level(spdlog::level::err);
    else
        return false;
    return true;
}

void write(Level level, std::string_view id, std::string_view text) {
    logger().log(native(level), "{} {}", id, text);
}

std::string quoted(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out = "\"";
    for (const char raw : text.substr(0, quoted_size_max)) {
        const auto byte = static_cast<unsigned char>(raw);
        if (byte == '"' || byte == '\\') {
            out += '\\';
            out += raw;
        } else if (byte >= 0x20 && byte < 0x7f) {
            out += raw;
        } else {
            out += "\\x";
            out += digits[byte >> 4];
            out += digits[byte & 0xf];
        }
    }
    out += text.size() > quoted_size_max ? "\"..." : "\"";
    return out;
}

}  // namespace dstm::log
