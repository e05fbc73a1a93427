// How many dialogues may be open, in all and from one address (RFC 5572 s8). Pure counting.
#pragma once

#include <cstddef>
#include <map>

#include "common/base/assert.hpp"
#include "common/base/ip_address.hpp"

namespace dstm::server::net {

class SessionQuota {
public:
    SessionQuota(std::size_t total_max, std::size_t per_address_max)
        : total_max_(total_max), per_address_max_(per_address_max) {}

    // False: one of the limits is reached, nothing was taken.
    [[nodiscard]] bool take(const IpAddress& address) {
        if (total_ >= total_max_) return false;
        std::size_t& held = per_address_[address];
        if (held >= per_address_max_) {
            if (held == 0) per_address_.erase(address);
            return false;
        }
        ++held;
        ++total_;
        return true;
    }

    void give_back(const IpAddress& address) {
        const auto found = per_address_.find(address);
        DSTM_ASSERT(found != per_address_.end());
        if (--found->second == 0) per_address_.erase(found);
        --total_;
    }

    // Whoever is in stays in.
    void set_limits(std::size_t total_max, std::size_t per_address_max) {
        total_max_ = total_max;
        per_address_max_ = per_address_max;
    }
    [[nodiscard]] std::size_t total() const { return total_; }

private:
    std::size_t total_max_;
    std::size_t per_address_max_;
    std::size_t total_ = 0;
    std::map<IpAddress, std::size_t> per_address_;
};

}  // namespace dstm::server::net
