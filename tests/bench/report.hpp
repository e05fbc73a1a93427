// One measured value as one line of JSON on stdout; everything else goes to stderr.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

namespace dstm::bench {

inline void report(const std::string& bench, const std::string& metric, double value,
                   const std::string& unit, std::uint64_t tunnels, const nlohmann::json& detail) {
    const nlohmann::json line{{"bench", bench}, {"metric", metric},   {"value", value},
                              {"unit", unit},   {"tunnels", tunnels}, {"detail", detail}};
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
}

template <class... Values>
void progress(const char* format, Values... values) {
    std::fprintf(stderr, format, values...);
    std::fputc('\n', stderr);
}

}  // namespace dstm::bench
