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
    std::string out = "packets go ";
    switch (forward_hook(ForwardFamily::ipv4)) {
        case ForwardHook::empty: out += "straight from interface to interface"; break;
        case ForwardHook::taken: out += "through the kernel's routing, past its firewall"; break;
        case ForwardHook::unknown: out += "through the kernel's routing"; break;
    }
    const auto place = Pins::check_place();
    if (!place && place.error().code != ErrorCode::not_found) {
        return out + "; nothing can be pinned: " + place.error().context;
    }
    out += "; they go on while the daemon restarts";
    return place ? out : out + ", where it may mount the BPF file system";
}

}  // namespace dstm::tep::bpf
