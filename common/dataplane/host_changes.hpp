// Settings of the host that a data plane changes besides addresses and routes, and puts back.
#pragma once

#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace dstm::dataplane {

// Writes a value below /proc/sys, such as "net/ipv4/conf/dstm0/forwarding".
[[nodiscard]] Result<void> write_sysctl(const std::string& path, std::string_view value);

// Without the newline at its end; empty when it cannot be read.
[[nodiscard]] std::string read_sysctl(const std::string& path);

// Generic receive offload of one interface is off while the object lives. With it the kernel hands
// a raw socket several TCP segments as one packet, without a checksum: no receiver takes that. A
// process that is killed leaves it off, which costs the host some speed and nothing else.
class GroOff {
public:
    GroOff() = default;
    [[nodiscard]] static Result<GroOff> on(const std::string& interface);
    GroOff(GroOff&& other) noexcept;
    GroOff& operator=(GroOff&& other) noexcept;
    ~GroOff();

    [[nodiscard]] const std::string& interface() const { return interface_; }

private:
    GroOff(std::string interface, bool was_on)
        : interface_(std::move(interface)), was_on_(was_on) {}

    std::string interface_;  // empty: none
    bool was_on_ = false;
};

}  // namespace dstm::dataplane
