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
// a raw socket several TCP segments as one packet, without a checksum: no receiver takes that.
//
// `record` is a file that says which interface had it on, while it is off because of us: a process
// that is killed so leaves word for the next one, which puts it back in the end. Empty: no word is
// left.
class GroOff {
public:
    GroOff() = default;
    [[nodiscard]] static Result<GroOff> on(const std::string& interface,
                                           const std::string& record = {});
    GroOff(GroOff&& other) noexcept;
    GroOff& operator=(GroOff&& other) noexcept;
    ~GroOff();

    [[nodiscard]] const std::string& interface() const { return interface_; }

private:
    GroOff(std::string interface, bool was_on, std::string record)
        : interface_(std::move(interface)), was_on_(was_on), record_(std::move(record)) {}

    std::string interface_;  // empty: none
    bool was_on_ = false;
    std::string record_;
};

}  // namespace dstm::dataplane
