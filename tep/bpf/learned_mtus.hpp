// The path MTUs that were learned, by far end, and when: they hold for a while (RFC 8201 s5.3), for
// tunnels too that come meanwhile. Time is an argument.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/dataplane/path_mtu.hpp"

namespace dstm::tep::bpf {

class LearnedMtus {
public:
    // `now` never goes back.
    void learn(const IpAddress& far_end, std::uint16_t mtu, Instant now) {
        known_[far_end] = {mtu, now};
        by_age_.emplace_back(now, far_end);
    }

    // 0: nothing is known.
    [[nodiscard]] std::uint16_t of(const IpAddress& far_end) const {
        const auto found = known_.find(far_end);
        return found == known_.end() ? std::uint16_t{0} : found->second.mtu;
    }

    // To whom larger packets may be tried again.
    [[nodiscard]] std::vector<IpAddress> forget_old(Instant now) {
        std::vector<IpAddress> forgotten;
        while (!by_age_.empty() && now - by_age_.front().first >= dataplane::path_mtu_lifetime) {
            const auto [at, far_end] = by_age_.front();
            by_age_.pop_front();
            const auto found = known_.find(far_end);
            if (found == known_.end() || found->second.at != at) continue;  // heard again since
            known_.erase(found);
            forgotten.push_back(far_end);
        }
        return forgotten;
    }

private:
    struct Learned {
        std::uint16_t mtu = 0;
        Instant at;
    };
    std::unordered_map<IpAddress, Learned> known_;
    std::deque<std::pair<Instant, IpAddress>> by_age_;
};

}  // namespace dstm::tep::bpf
