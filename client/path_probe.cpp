// Pairs of a large and a small echo, a few rounds of them. See path_probe.hpp.
#include "client/path_probe.hpp"

namespace dstm::client {
namespace {

constexpr std::uint16_t echoes_of_all_rounds = 2 * PathProbe::rounds;

}  // namespace

void PathProbe::begin(Instant now) {
    due_ = now;
    rounds_begun_ = 0;
    small_arrives_ = false;
    sequence_ = static_cast<std::uint16_t>((sequence_ + 1U) & ~1U);
    first_ = sequence_;
}

std::vector<PathProbe::Echo> PathProbe::next(Instant now) {
    if (!due_ || now < *due_ || rounds_begun_ == rounds) return {};
    ++rounds_begun_;
    due_ = now + round_time;
    const auto large = sequence_++;
    const auto small = sequence_++;
    return {{large, true}, {small, false}};
}

std::optional<PathProbe::Verdict> PathProbe::answered(std::uint16_t sequence) {
    // Answers to what was asked before the last begin() say nothing of the path as it is now.
    const auto since_begin = static_cast<std::uint16_t>(sequence - first_);
    if (!due_ || since_begin >= echoes_of_all_rounds) return std::nullopt;
    if (sequence % 2 != 0) {
        small_arrives_ = true;
        return std::nullopt;
    }
    due_.reset();
    return Verdict::good;
}

std::optional<PathProbe::Verdict> PathProbe::verdict(Instant now) {
    if (!due_ || now < *due_ || rounds_begun_ < rounds) return std::nullopt;
    due_.reset();
    if (!small_arrives_) return std::nullopt;
    return Verdict::black_hole;
}

}  // namespace dstm::client
