// A plane without its addresses: whether the kernel takes the programs and lets them stand on a
// device, and which way packets would go. What is made for this goes again.
#include <vector>

#include <net/if.h>
#include <unistd.h>

#include "common/dataplane/tun_device.hpp"
#include "common/dataplane/tun_plane.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/firewall.hpp"
#include "tep/bpf/host_network.hpp"
#include "tep/bpf/pins.hpp"
#include "tep/bpf/programs.hpp"
#include "tep/bpf/tc_hook.hpp"

namespace dstm::tep::bpf {
namespace {

// Code for what is not configured is dead, and the verifier passes by it.
ProgramSettings everything() {
    ProgramSettings settings;
    settings.pools = {{Ipv4Address(), 32}};
    settings.inner = Ipv4Address::parse("192.0.2.1").value();
    settings.outer_ipv4 = Ipv4Address::parse("192.0.2.1").value();
    settings.inner_ipv6 = Ipv6Address::parse("2001:db8::1").value();
    settings.udp_port = 3653;
    settings.ipv6_tunnels_max = 1;
    return settings;
}

Result<void> try_tc(const Programs& programs) {
    const auto device = dataplane::TunDevice::create_any();
    if (!device) return tl::unexpected(device.error());
    const auto index = static_cast<int>(if_nametoindex(device->name().c_str()));
    const auto hook = TcHook::attach(
        {index, TcDirection::egress, tc_handle_of(device->name())}, programs.down());
    return hook.map([](const TcHook&) {});
}

std::string ways() {
    const auto ipv4 = way_on(forward_hook(ForwardFamily::ipv4));
    const auto ipv6 = way_on(forward_hook(ForwardFamily::ipv6));
    if (ipv4 == ipv6) return "by tc: packets go " + ipv4;
    return "by tc: IPv4 packets go " + ipv4 + "; IPv6 packets go " + ipv6;
}

std::string where_xdp_runs() {
    auto network = HostNetwork::open();
    std::string names;
    struct if_nameindex* const all = if_nameindex();
    for (const auto* each = all; network && each != nullptr && each->if_index != 0; ++each) {
        const auto index = static_cast<int>(each->if_index);
        const auto runs = network->runs_xdp(index);
        if (!runs) {
            names = " wherever the driver has it, which this kernel does not tell";
            break;
        }
        const auto link = network->link(index);
        if (*runs && link && link->address) names += std::string(" ") + each->if_name;
    }
    if_freenameindex(all);
    return names.empty() ? "; no interface has XDP" : "; by XDP, if asked for:" + names;
}

std::string whether_it_lasts(const Programs& programs) {
    if (!Pins::is_mounted()) {
        return "; no BPF file system is mounted on /sys/fs/bpf, which has to be there (or to be "
               "allowed) for packets to go on while the daemon restarts";
    }
    const auto pins = Pins::open("dstmp" + std::to_string(::getpid()));
    auto done = pins ? programs.pin(*pins) : tl::unexpected(pins.error());
    if (pins) {
        const auto removed = pins->remove();
        if (done) done = removed;
    }
    return done ? "; they go on while the daemon restarts"
                : "; nothing can be pinned: " + done.error().context;
}

}  // namespace

Result<std::string> probe() {
    const auto programs = Programs::load(everything());
    if (!programs) return tl::unexpected(programs.error());
    // What the programs leave to the daemon goes by a TUN device.
    if (const auto slow = dataplane::probe_tun_plane(); !slow) {
        return tl::unexpected(slow.error());
    }
    if (const auto tried = try_tc(*programs); !tried) return tl::unexpected(tried.error());
    return ways() + where_xdp_runs() + whether_it_lasts(*programs);
}

}  // namespace dstm::tep::bpf
