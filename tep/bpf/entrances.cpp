// Attaching and detaching as interfaces come and go; what the kernel cannot do is a log line.
#include "tep/bpf/entrances.hpp"

#include <algorithm>
#include <utility>

#include <net/if.h>

#include "common/log/log.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr int loopback_index = 1;

// fe80::/10 and ff00::/8: what the kernel has on each interface.
bool is_of_every_link(const dataplane::Route& route) {
    const auto* to = std::get_if<Ipv6Prefix>(&route.destination);
    return to != nullptr && (to->address.is_link_local() || to->address.bytes()[0] == 0xff);
}

}  // namespace

Result<std::set<int>> Entrances::wanted() {
    std::set<int> wanted;
    if (!config_.interfaces.empty()) {
        for (const auto& interface : config_.interfaces) {
            const auto index = netlink_.interface_index(interface.name);
            if (index)
                wanted.insert(*index);
            else if (index.error().code != ErrorCode::not_found)
                return tl::unexpected(index.error());
        }
        return wanted;
    }
    const bool carries_straight_ipv6 = config_.outer_ipv4 && config_.shortcut != Shortcut::none;
    // The address may stand on the loopback interface, when the host has several links.
    const auto holder = netlink_.interface_of_address(config_.outer);
    if (!holder) return tl::unexpected(holder.error());
    if (*holder != loopback_index) wanted.insert(*holder);
    const auto routes = netlink_.routes_v6();
    if (!routes) return tl::unexpected(routes.error());
    for (const auto& route : *routes) {
        const bool is_way_from_servers = carries_straight_ipv6 && !is_of_every_link(route);
        if (!route.gateway && !is_way_from_servers) continue;
        if (route.interface_index > loopback_index) wanted.insert(route.interface_index);
    }
    if (config_.outer_ipv4) {
        const auto holder_v4 = netlink_.interface_of_address(*config_.outer_ipv4);
        if (!holder_v4) return tl::unexpected(holder_v4.error());
        if (*holder_v4 != loopback_index) wanted.insert(*holder_v4);
    }
    if (config_.shortcut == Shortcut::none && !config_.outer_ipv4) return wanted;
    const auto routes_v4 = netlink_.routes_v4();
    if (!routes_v4) return tl::unexpected(routes_v4.error());
    for (const auto& route : *routes_v4) {
        const bool is_way_to_clients = config_.outer_ipv4 && route.gateway;
        if (config_.shortcut == Shortcut::none && !is_way_to_clients) continue;
        if (route.interface_index > loopback_index) wanted.insert(route.interface_index);
    }
    return wanted;
}

// An interface may vanish and come back under its name, with another index.
Result<void> Entrances::guard() {
    const auto wanted = this->wanted();
    if (!wanted) return tl::unexpected(wanted.error());
    drop_unwanted(*wanted);
    Result<void> outcome;
    for (const int index : *wanted) {
        if (index == device_) continue;
        if (const auto found = entrances_.find(index); found != entrances_.end()) {
            if (found->second.hook.stands()) continue;
            found->second.leave();  // the next goes on from its record
            entrances_.erase(found);
        }
        if (auto entered = enter(index); !entered && outcome) outcome = std::move(entered);
    }
    for (const auto& [index, entrance] : entrances_) write_port(index);
    if (entrances_.empty() && outcome) {
        log_warning("BPF_NO_INTERFACE", "no interface to carry from; packets take the slow path");
    }
    return outcome;
}

void Entrances::drop_unwanted(const std::set<int>& wanted) {
    for (const auto& [index, record] : records_.all()) {
        if (wanted.contains(index)) continue;
        if (entrances_.erase(index) == 0) {
            take_back(place_on(index), record);
            if (pins_ != nullptr) XdpHook::end(link_path(index));
        }
        records_.erase(index);
        programs_.set_port(index, {});
    }
}

TcPlace Entrances::place_on(int index) const {
    return {index, TcDirection::ingress, tc_handle_of(config_.device)};
}

std::string Entrances::link_path(int index) const {
    return pins_ == nullptr ? std::string() : pins_->link_path(index);
}

// For layer 2. Of two interfaces in one place the later one has it, and the other does without.
void Entrances::write_port(int index) {
    const auto link = network_.link(index);
    if (!link || !link->address) return;  // gone again
    dstm_port port{};
    port.interface = static_cast<__u32>(index);
    port.takes_frames = link->takes_frames;
    std::ranges::copy(*link->address, port.address);
    programs_.set_port(index, port);
}

// Whoever dies in the middle has all of it taken back, what was not done yet to no effect: only
// an empty clsact of another would go with it.
dstm_hook Entrances::intent(const std::string& interface,
                            const std::optional<dstm_hook>& earlier) const {
    dstm_hook out = earlier.value_or(dstm_hook{});
    if (!earlier) out.made_clsact = 1;
    if (const auto setting = SourceFilterOff::setting_of(interface);
        setting && out.has_rp_filter == 0) {
        out.has_rp_filter = 1;
        out.rp_filter = static_cast<__u8>(*setting);
    }
    return out;
}

// What an earlier daemon has changed there was not so before: it goes on from its record.
Result<void> Entrances::enter(int index) {
    const auto interface = netlink_.interface_name(index);
    const auto link = network_.link(index);
    if (!interface || !link) return {};  // gone again
    if (!link->address) {
        log_info("BPF_NO_ETHERNET", "interface={} takes the slow path", *interface);
        return {};
    }
    const auto recorded = records_.find(index);
    const auto earlier = recorded.value_or(dstm_hook{});
    records_.write(index, intent(*interface, recorded));
    auto hook =
        TcHook::attach(place_on(index), program_of(*interface), earlier.made_clsact != 0);
    if (!hook) {
        recorded ? records_.write(index, earlier) : records_.erase(index);
        return tl::unexpected(hook.error());
    }
    auto xdp = try_xdp(index, *interface);
    if (!xdp && pins_ != nullptr) XdpHook::end(link_path(index));
    auto filter = earlier.has_rp_filter != 0 ? SourceFilterOff(*interface, earlier.rp_filter)
                                             : SourceFilterOff(*interface);
    dstm_hook record{};
    record.made_clsact = hook->made_qdisc();
    record.has_rp_filter = filter.before().has_value();
    record.rp_filter = static_cast<__u8>(filter.before().value_or(0));
    records_.write(index, record);
    log_info("BPF_ATTACHED", "interface={} by={}", *interface, xdp ? "xdp,tc" : "tc");
    entrances_.emplace(index, Entrance{std::move(*hook), std::move(xdp), std::move(filter)});
    return {};
}

void Entrances::Entrance::leave() {
    hook.leave();
    if (xdp) xdp->leave();
    filter.leave();
}

void Entrances::leave() {
    for (auto& [index, entrance] : entrances_) entrance.leave();
}

Shortcut Entrances::shortcut_of(const std::string& interface) const {
    const auto found = std::ranges::find(config_.interfaces, interface, &Interface::name);
    const bool has_own =
        found != config_.interfaces.end() && found->shortcut != Shortcut::automatic;
    return has_own ? found->shortcut : config_.shortcut;
}

int Entrances::program_of(const std::string& interface) const {
    switch (shortcut_of(interface)) {
        case Shortcut::automatic: return programs_.up();
        case Shortcut::none: return programs_.up_routed();
        case Shortcut::tc:
        case Shortcut::xdp: return programs_.up_straight();
    }
    return programs_.up();
}

std::optional<XdpHook> Entrances::try_xdp(int index, const std::string& interface) {
    if (shortcut_of(interface) != Shortcut::xdp) return std::nullopt;
    auto hook = XdpHook::attach(index, programs_.xdp(), link_path(index));
    if (hook) return std::move(*hook);
    log_warning("BPF_NO_XDP", "interface={} {}", interface, to_string(hook.error()));
    return std::nullopt;
}

void take_back(const TcPlace& place, const dstm_hook& record) {
    const auto hook = TcHook::adopt(place, record.made_clsact != 0);
    char name[IF_NAMESIZE] = {};
    if (record.has_rp_filter == 0) return;
    if (if_indextoname(static_cast<unsigned>(place.interface), name) == nullptr) return;
    const SourceFilterOff filter(name, record.rp_filter);
}

}  // namespace dstm::tep::bpf
