// The kernel's check of IPv4 sources (rp_filter) on an interface that packets of clients come out
// of: their sources are routed to the tunnel device, so that it would refuse them.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include <net/if.h>

#include "common/dataplane/host_changes.hpp"

namespace dstm::tep::bpf {

// Off while the object lives; the program has checked the source better. Loose (2) is not enough on
// an interface without IPv4 addresses. The host's setting for all interfaces is not touched, and is
// the stronger one. By the interface's index: its name may change.
class SourceFilterOff {
public:
    explicit SourceFilterOff(int interface) : SourceFilterOff(interface, setting_of(interface)) {
        keep_off();
    }
    // `before` is what to put back; none: nothing. An earlier process turned it off.
    SourceFilterOff(int interface, std::optional<int> before)
        : interface_(interface), before_(before) {}
    SourceFilterOff(SourceFilterOff&& other) noexcept
        : interface_(other.interface_), before_(std::exchange(other.before_, std::nullopt)) {}
    SourceFilterOff& operator=(SourceFilterOff&&) = delete;
    ~SourceFilterOff() {
        if (before_) static_cast<void>(write(*before_));
    }

    // What there is to turn off; none where it is off.
    [[nodiscard]] static std::optional<int> setting_of(int interface) {
        const auto value = dataplane::read_sysctl(path_of(interface));
        if (value.size() != 1 || value == "0") return std::nullopt;
        return value[0] - '0';
    }
    // Somebody may have set it anew: that is what they want back. Returns what it was.
    std::optional<int> keep_off() {
        const auto setting = setting_of(interface_);
        if (!setting || !write(0)) return std::nullopt;
        before_ = setting;
        return setting;
    }
    // What it was, when this changed it.
    [[nodiscard]] std::optional<int> before() const { return before_; }
    // It stays off when the object goes.
    void leave() { before_.reset(); }

    [[nodiscard]] static bool is_on_everywhere() {
        return dataplane::read_sysctl("net/ipv4/conf/all/rp_filter") != "0";
    }

private:
    // Of an interface that is gone: nowhere.
    [[nodiscard]] static std::string path_of(int interface) {
        char name[IF_NAMESIZE] = {};
        if_indextoname(static_cast<unsigned>(interface), name);
        return "net/ipv4/conf/" + std::string(name) + "/rp_filter";
    }
    [[nodiscard]] bool write(int value) const {
        return dataplane::write_sysctl(path_of(interface_), std::to_string(value)).has_value();
    }

    int interface_;
    std::optional<int> before_;
};

}  // namespace dstm::tep::bpf
