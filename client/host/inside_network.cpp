// Addresses and routes by netlink, forwarding by /proc/sys.
#include "client/host/inside_network.hpp"

#include <filesystem>
#include <limits>

#include "common/dataplane/host_changes.hpp"

namespace dstm::client {
namespace {

namespace fs = std::filesystem;

constexpr std::uint8_t link_prefix_length = 64;
// Below every route of use within the prefix.
constexpr std::uint32_t unreachable_metric = std::numeric_limits<std::uint32_t>::max();
constexpr const char* settings_folder = "net/ipv6/conf/";

std::string setting(const std::string& interface, const char* name) {
    return settings_folder + interface + '/' + name;
}

Ipv6Address first_host(const Ipv6Prefix& prefix) {
    auto bytes = prefix.address.bytes();
    bytes.back() = 1;
    return Ipv6Address(bytes);
}

dataplane::Route nowhere(const Ipv6Prefix& prefix) {
    dataplane::Route route;
    route.destination = prefix;
    route.kind = dataplane::Route::Kind::unreachable;
    route.metric = unreachable_metric;
    return route;
}

// The kernel forwards IPv6 only when all interfaces do, and then forgets what routers advertised,
// but where accept_ra is 2. So the host's own way out keeps its routes. What is written when
// everything is undone, last change first: `all` puts 0 everywhere, then each gets its own back.
std::vector<Sysctl> forwarding_plan(const std::string& inside, const std::string& device) {
    std::vector<Sysctl> changes;
    if (dataplane::read_sysctl(setting("all", "forwarding")) == "1") {
        if (dataplane::read_sysctl(setting(inside, "forwarding")) == "0") {
            changes.push_back({setting(inside, "forwarding"), "0"});
        }
        return changes;
    }
    std::error_code error;
    const fs::directory_iterator interfaces(std::string("/proc/sys/") + settings_folder, error);
    if (error) return changes;
    for (const auto& entry : interfaces) {
        const auto name = entry.path().filename().string();
        if (name == "all" || name == device) continue;
        if (dataplane::read_sysctl(setting(name, "forwarding")) == "1") {
            changes.push_back({setting(name, "forwarding"), "1"});
        }
        if (name != inside && dataplane::read_sysctl(setting(name, "accept_ra")) == "1") {
            changes.push_back({setting(name, "accept_ra"), "1"});
        }
    }
    changes.push_back({setting("all", "forwarding"), "0"});
    return changes;
}

// What each of them becomes.
const char* wanted(const Sysctl& change) { return change.path.ends_with("accept_ra") ? "2" : "1"; }

}  // namespace

std::optional<InsideChanges> InsideNetwork::plan(const std::optional<Ipv6Prefix>& prefix,
                                                 const std::string& device) const {
    if (!prefix || !config_) return std::nullopt;
    return InsideChanges{*prefix, config_->interface, config_->script,
                         forwarding_plan(config_->interface, device)};
}

bool InsideNetwork::is_lacking(const InsideChanges& changes) {
    const auto inside = netlink_.interface_index(changes.interface);
    const auto table = netlink_.routes_v6();
    if (!inside || !table) return false;
    const auto holder = netlink_.interface_of_address(first_host(changes.prefix));
    return !holder || *holder != *inside || !dataplane::holds(*table, nowhere(changes.prefix));
}

Result<void> InsideNetwork::apply(const InsideChanges& changes, const std::string& device) {
    const auto inside = netlink_.interface_index(changes.interface);
    if (!inside) return tl::unexpected(inside.error());
    for (const auto& sysctl : changes.sysctls) {
        if (auto set = dataplane::write_sysctl(sysctl.path, wanted(sysctl)); !set) return set;
    }
    auto done = netlink_.add_route(nowhere(changes.prefix));
    if (done) {
        done = netlink_.add_address(*inside, first_host(changes.prefix), link_prefix_length);
    }
    if (!done || changes.script.empty() || applied_ == changes.prefix) return done;
    applied_ = changes.prefix;
    scripts_.run(changes.script, {"up", changes.prefix.to_string(), changes.interface, device});
    return {};
}

Result<void> InsideNetwork::undo(const InsideChanges& changes) {
    Result<void> first_failure;
    const auto note = [&first_failure](const Result<void>& done) {
        if (!done && first_failure) first_failure = done;
    };
    applied_.reset();
    if (!changes.script.empty()) {
        scripts_.run(changes.script, {"down", changes.prefix.to_string(), changes.interface});
    }
    // An interface that is gone has taken its address and its settings with it.
    if (const auto inside = netlink_.interface_index(changes.interface)) {
        note(netlink_.remove_address(*inside, first_host(changes.prefix), link_prefix_length));
    }
    note(netlink_.remove_route(nowhere(changes.prefix)));
    for (auto sysctl = changes.sysctls.rbegin(); sysctl != changes.sysctls.rend(); ++sysctl) {
        if (dataplane::read_sysctl(sysctl->path).empty()) continue;
        note(dataplane::write_sysctl(sysctl->path, sysctl->was));
    }
    return first_failure;
}

}  // namespace dstm::client
