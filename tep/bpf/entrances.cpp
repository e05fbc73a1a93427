// Attaching and detaching as interfaces come and go; what the kernel cannot do is a log line.
#include "tep/bpf/entrances.hpp"

#include <algorithm>
#include <utility>

#include "common/dataplane/host_changes.hpp"
#include "common/log/log.hpp"
#include "tep/bpf/firewall.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr int loopback_index = 1;

// Whether the kernel itself would forward what comes in there; a shortcut does not without it.
bool forwards_ipv4_of(const std::string& interface) {
    return dataplane::read_sysctl("net/ipv4/conf/" + interface + "/forwarding") == "1";
}

}  // namespace

Result<std::set<int>> Entrances::wanted(const std::set<int>& to_clients) {
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
    wanted = to_clients;
    const auto holder = netlink_.interface_of_address(config_.outer);
    if (!holder) return tl::unexpected(holder.error());
    wanted.insert(*holder);
    if (config_.outer_ipv4) {
        const auto holder_v4 = netlink_.interface_of_address(*config_.outer_ipv4);
        if (!holder_v4) return tl::unexpected(holder_v4.error());
        wanted.insert(*holder_v4);
    }
    const bool takes_shortcuts = config_.shortcut != Shortcut::none;
    const bool is_ipv4_wanted = config_.outer_ipv4 || takes_shortcuts;
    const bool is_ipv6_wanted = config_.outer_ipv4 && takes_shortcuts;
    for (const auto& [index, kinds] : network_.routes().interfaces()) {
        if (kinds.ipv6_gateway || (kinds.ipv4 && is_ipv4_wanted) || (kinds.ipv6 && is_ipv6_wanted))
            wanted.insert(index);
    }
    // The addresses may stand on the loopback interface, when the host has several links.
    wanted.erase(loopback_index);
    wanted.erase(device_);
    return wanted;
}

// Where packets of IPv6 may come in, and with them those of tunnels.
std::set<int> Entrances::of_clients(const std::set<int>& to_clients) {
    auto out = to_clients;
    if (const auto holder = netlink_.interface_of_address(config_.outer)) out.insert(*holder);
    for (const auto& [index, kinds] : network_.routes().interfaces()) {
        if (kinds.ipv6 || kinds.ipv6_gateway) out.insert(index);
    }
    return out;
}

Result<void> Entrances::guard(const std::set<int>& to_clients) {
    const auto wanted = this->wanted(to_clients);
    if (!wanted) return tl::unexpected(wanted.error());
    drop_unwanted(*wanted);
    const auto of_clients = this->of_clients(to_clients);
    // With the host's own setting the packets appear on the tunnel device (deliver_to).
    const bool is_on_everywhere = SourceFilterOff::is_on_everywhere();
    Result<void> done;
    for (const int index : *wanted) {
        if (auto kept = keep(index); !kept && done) done = kept;
        tend_filter(index, !is_on_everywhere && of_clients.contains(index));
    }
    for (const auto& [index, entrance] : entrances_) write_port(index);
    if (entrances_.empty() && is_news("no interface")) {
        log_warning("BPF_NO_INTERFACE", "no interface to carry from; packets take the slow path");
    }
    said_ = std::exchange(saying_, {});
    return done;
}

bool Entrances::is_news(const std::string& state) {
    saying_.insert(state);
    return !said_.contains(state);
}

// An interface may vanish and come back under its name, with another index.
Result<void> Entrances::keep(int index) {
    const auto found = entrances_.find(index);
    if (found != entrances_.end()) {
        const auto interface = netlink_.interface_name(index);
        const bool is_right = interface && found->second.program == program_of(*interface);
        if (is_right && found->second.hook.stands()) return {};
        found->second.leave();  // the next goes on from its record
        entrances_.erase(found);
    }
    return enter(index);
}

// Somebody may have turned it on again (udev, sysctl --system). The word before the deed.
void Entrances::tend_filter(int index, bool must_be_off) {
    const auto found = entrances_.find(index);
    if (found == entrances_.end()) return;
    auto& filter = found->second.filter;
    auto record = records_.find(index).value_or(dstm_hook{});
    const auto setting = SourceFilterOff::setting_of(index);
    if (must_be_off && setting) {
        record.has_rp_filter = 1;
        record.rp_filter = static_cast<__u8>(*setting);
        records_.write(index, record);
        if (!filter) filter.emplace(index, std::nullopt);
        const auto interface = netlink_.interface_name(index).value_or(std::to_string(index));
        if (filter->keep_off()) {
            log_info("BPF_SOURCE_FILTER", "interface={} rp_filter was {} and is off", interface,
                     *setting);
        } else if (is_news("rp_filter " + interface)) {
            log_warning("BPF_SOURCE_FILTER", "interface={} rp_filter is {} and stays on", interface,
                        *setting);
        }
    } else if (!must_be_off && filter) {
        filter.reset();
        record.has_rp_filter = 0;
        records_.write(index, record);
    }
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

// What an earlier daemon has changed there was not so before: it goes on from its record.
Result<void> Entrances::enter(int index) {
    const auto interface = netlink_.interface_name(index);
    const auto link = network_.link(index);
    if (!interface || !link) return {};  // gone again
    if (!link->address) {
        if (is_news("no Ethernet " + std::to_string(index))) {
            log_info("BPF_NO_ETHERNET", "interface={} takes the slow path", *interface);
        }
        return {};
    }
    const auto recorded = records_.find(index);
    const auto earlier = recorded.value_or(dstm_hook{});
    // Whoever dies in the middle has all of it taken back, what was not done yet to no effect: only
    // an empty clsact of another would go with it.
    dstm_hook intent = earlier;
    if (!recorded) intent.made_clsact = 1;
    records_.write(index, intent);
    auto place = place_on(index);
    place.was_ours = recorded.has_value();
    auto hook = TcHook::attach(place, program_of(*interface), earlier.made_clsact != 0);
    if (!hook) {
        recorded ? records_.write(index, earlier) : records_.erase(index);
        return tl::unexpected(hook.error());
    }
    XdpHook::end_earlier(index, earlier);
    auto xdp = try_xdp(index, *interface);
    if (!xdp && pins_ != nullptr) XdpHook::end(link_path(index));
    std::optional<SourceFilterOff> filter;
    if (earlier.has_rp_filter != 0) filter.emplace(index, earlier.rp_filter);
    auto record = earlier;
    record.made_clsact = hook->made_qdisc();
    record.has_xdp = 0;
    records_.write(index, record);
    log_info("BPF_ATTACHED", "interface={} by={}", *interface, xdp ? "xdp,tc" : "tc");
    entrances_.emplace(index, Entrance{std::move(*hook), std::move(xdp), std::move(filter),
                                       program_of(*interface)});
    return {};
}

void Entrances::Entrance::leave() {
    hook.leave();
    if (xdp) xdp->leave();
    if (filter) filter->leave();
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

// What the host does not forward is left to it, which drops it.
int Entrances::program_of(const std::string& interface) const {
    const auto shortcut = shortcut_of(interface);
    if (shortcut == Shortcut::none || !forwards_ipv4_of(interface)) return programs_.up_routed();
    const bool forwards_all = !config_.outer_ipv4 || is_forwarding(ForwardFamily::ipv6);
    return shortcut == Shortcut::automatic || !forwards_all ? programs_.up()
                                                            : programs_.up_straight();
}

std::optional<XdpHook> Entrances::try_xdp(int index, const std::string& interface) {
    if (shortcut_of(interface) != Shortcut::xdp) return std::nullopt;
    if (program_of(interface) != programs_.up_straight()) return std::nullopt;
    auto hook = XdpHook::attach(index, programs_.xdp(), link_path(index));
    if (hook) return std::move(*hook);
    log_warning("BPF_NO_XDP", "interface={} {}", interface, to_string(hook.error()));
    return std::nullopt;
}

void take_back(const TcPlace& place, const dstm_hook& record) {
    const auto hook = TcHook::adopt(place, record.made_clsact != 0);
    XdpHook::end_earlier(place.interface, record);
    if (record.has_rp_filter != 0) const SourceFilterOff filter(place.interface, record.rp_filter);
}

}  // namespace dstm::tep::bpf
