// A plane without a device: whether the kernel takes the programs, and which way packets would go.
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/firewall.hpp"
#include "tep/bpf/pins.hpp"
#include "tep/bpf/programs.hpp"

namespace dstm::tep::bpf {

Result<std::string> probe() {
    ProgramSettings settings;
    settings.pools = {{Ipv4Address(), 32}};
    // Code for what is not configured is dead, and the verifier passes by it.
    settings.inner = Ipv4Address::parse("192.0.2.1").value();
    settings.outer_ipv4 = Ipv4Address::parse("192.0.2.1").value();
    settings.inner_ipv6 = Ipv6Address::parse("2001:db8::1").value();
    settings.udp_port = 3653;
    settings.ipv6_tunnels_max = 1;
    if (const auto programs = Programs::load(settings); !programs) {
        return tl::unexpected(programs.error());
    }
    const auto ipv4 = way_on(forward_hook(ForwardFamily::ipv4));
    const auto ipv6 = way_on(forward_hook(ForwardFamily::ipv6));
    const auto out = ipv4 == ipv6 ? "packets go " + ipv4
                                  : "IPv4 packets go " + ipv4 + "; IPv6 packets go " + ipv6;
    const auto pins = Pins::open("probe");
    return out + (pins ? "; they go on while the daemon restarts"
                       : "; nothing can be pinned: " + pins.error().context);
}

}  // namespace dstm::tep::bpf
