// The kernel's check of IPv4 sources (rp_filter) on an interface that packets of clients come out
// of: their sources are routed to the tunnel device, so that it would refuse them.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "common/dataplane/host_changes.hpp"

namespace dstm::tep::bpf {

// Off while the object lives; the program has checked the source better. Loose (2) is not enough on
// an interface without IPv4 addresses. The host's setting for all interfaces is not touched, and is
// the stronger one.
class SourceFilterOff {
public:
    explicit SourceFilterOff(const std::string& interface)
        : path_("net/ipv4/conf/" + interface + "/rp_filter"),
          before_(dataplane::read_sysctl(path_)) {
        changed_ = before_ != "0" && dataplane::write_sysctl(path_, "0").has_value();
    }
    // An earlier process turned it off: the destructor puts `before` back.
    SourceFilterOff(const std::string& interface, int before)
        : path_("net/ipv4/conf/" + interface + "/rp_filter"),
          before_(std::to_string(before)),
          changed_(true) {}
    SourceFilterOff(SourceFilterOff&& other) noexcept
        : path_(std::move(other.path_)),
          before_(std::move(other.before_)),
          changed_(std::exchange(other.changed_, false)) {}
    SourceFilterOff& operator=(SourceFilterOff&&) = delete;
    ~SourceFilterOff() {
        if (changed_) static_cast<void>(dataplane::write_sysctl(path_, before_));
    }

    // What there is to turn off; none where it is off.
    [[nodiscard]] static std::optional<int> setting_of(const std::string& interface) {
        const auto value = dataplane::read_sysctl("net/ipv4/conf/" + interface + "/rp_filter");
        if (value.size() != 1 || value == "0") return std::nullopt;
        return value[0] - '0';
    }
    // What it was, when this changed it.
    [[nodiscard]] std::optional<int> before() const {
        if (!changed_ || before_.size() != 1) return std::nullopt;
        return before_[0] - '0';
    }
    // It stays off when the object goes.
    void leave() { changed_ = false; }

    [[nodiscard]] static bool is_on_everywhere() {
        return dataplane::read_sysctl("net/ipv4/conf/all/rp_filter") != "0";
    }

private:
    std::string path_;
    std::string before_;
    bool changed_ = false;
};

}  // namespace dstm::tep::bpf
