// Configuration to data plane. A new plane gets its branch here and its name in data_plane_names.
#include "tep/data_plane_choice.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "common/base/assert.hpp"
#include "common/dataplane/kernel_plane.hpp"
#include "common/dataplane/tun_plane.hpp"
#include "common/log/log.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/config.hpp"

namespace dstm::tep {
namespace {

// Beside the admin socket: the daemon may write there, and a restart of the host, which turns
// receive offload on again, empties it.
std::string gro_record(const Config& config) {
    const auto slash = config.admin_socket.rfind('/');
    if (slash == std::string::npos) return {};
    return config.admin_socket.substr(0, slash + 1) + "gro-was-on";
}

using Made = Result<std::unique_ptr<dataplane::DataPlane>>;

Made make_tun(const Config& config, const Clock& clock, const PlaneCalls& calls) {
    dataplane::TunPlaneConfig tun;
    tun.role = dataplane::TunPlaneConfig::Role::endpoint;
    tun.device = config.device;
    tun.outer = config.outer_ipv6;
    tun.inner = config.inner_ipv4;
    tun.pools = config.pools;
    tun.outside_pools = config.outside_pools;
    tun.outer_ipv4 = config.outer_ipv4;
    tun.inner_ipv6 = config.inner_ipv6;
    tun.pools_ipv6 = config.pools_ipv6;
    tun.udp_port = config.udp_port;
    tun.tsp_datagram = calls.tsp_datagram;
    tun.device_gone = calls.device_gone;
    tun.hairpin = config.hairpin;
    tun.mss_clamp = config.mss_clamp;
    tun.gro_record = gro_record(config);
    return dataplane::make_tun_plane(tun, clock);
}

// In the order of shortcut_names.
bpf::Shortcut shortcut_at(std::size_t index) {
    constexpr std::array shortcuts{bpf::Shortcut::automatic, bpf::Shortcut::none, bpf::Shortcut::tc,
                                   bpf::Shortcut::xdp};
    return shortcuts.at(index);
}

Made make_bpf(const Config& config, const Clock& clock, const PlaneCalls& calls) {
    bpf::BpfPlaneConfig plane;
    plane.device = config.device;
    plane.outer = config.outer_ipv6;
    plane.inner = config.inner_ipv4;
    plane.pools = config.pools;
    plane.hairpin = config.hairpin;
    plane.mss_clamp = config.mss_clamp;
    plane.shortcut = shortcut_at(config.shortcut);
    for (const auto& interface : config.interfaces) {
        plane.interfaces.push_back({interface.name, shortcut_at(interface.shortcut)});
    }
    plane.outer_ipv4 = config.outer_ipv4;
    plane.inner_ipv6 = config.inner_ipv6;
    plane.pools_ipv6 = config.pools_ipv6;
    plane.udp_port = config.udp_port;
    plane.tsp_datagram = calls.tsp_datagram;
    plane.device_gone = calls.device_gone;
    plane.lasting = true;
    return bpf::make_bpf_plane(plane, clock);
}

dataplane::KernelPlaneConfig kernel_config(const Config& config) {
    dataplane::KernelPlaneConfig kernel;
    kernel.device = config.device;
    kernel.mss_clamp = config.mss_clamp;
    kernel.outer = config.outer_ipv6;
    kernel.inner = config.inner_ipv4;
    kernel.pools = config.pools;
    kernel.outside_pools = config.outside_pools;
    kernel.outer_ipv4 = config.outer_ipv4;
    kernel.inner_ipv6 = config.inner_ipv6;
    kernel.pools_ipv6 = config.pools_ipv6;
    kernel.hairpin = config.hairpin;
    return kernel;
}

Made make_kernel(const Config& config, const Clock& clock, const PlaneCalls&) {
    if (config.outer_ipv4 && config.udp_port != 0) {
        return fail(ErrorCode::invalid,
                    "it carries no v6udpv4 and passes no signalling on: \"udp-port\" must be 0");
    }
    return dataplane::make_kernel_plane(kernel_config(config), clock);
}

Result<std::string> probe_kernel() {
    if (auto can = dataplane::probe_kernel_plane(TunnelType::v4v6); !can) {
        return tl::unexpected(can.error());
    }
    const auto sit = dataplane::probe_kernel_plane(TunnelType::v6v4);
    return "v4v6 by ip6tnl devices; " +
           (sit ? "v6v4 by sit devices" : "no v6v4: " + sit.error().context) + "; no v6udpv4";
}

struct Carrier {
    std::string_view name;
    Made (*make)(const Config&, const Clock&, const PlaneCalls&);
    Result<std::string> (*probe)();
};

// The fastest first: in this order "auto" tries them.
constexpr std::array carriers{
    Carrier{"bpf", make_bpf, bpf::probe},
    Carrier{"kernel", make_kernel, probe_kernel},
    Carrier{"tun", make_tun, dataplane::probe_tun_plane},
};

std::vector<dataplane::IpPrefix> pools_of(const Config& config) {
    std::vector<dataplane::IpPrefix> pools(config.pools.begin(), config.pools.end());
    pools.insert(pools.end(), config.pools_ipv6.begin(), config.pools_ipv6.end());
    return pools;
}

void tell(const std::vector<std::string>& removed) {
    for (const auto& what : removed) log_info("TEP_DETACHED", "removed={}", log::quoted(what));
}

Result<void> tell_removed(const Result<std::vector<std::string>>& removed) {
    if (!removed) return tl::unexpected(removed.error());
    tell(*removed);
    return {};
}

// Programs that an earlier daemon left would take the packets, which no one looks after any more.
Result<void> end_programs(const Config& config) {
    if (!bpf::is_left(config.device)) return {};
    return tell_removed(bpf::detach(config.device, pools_of(config)));
}

// The kernel's devices too, and the first of them has the name of the other's. They go on while
// this host cannot do without.
Result<void> end_devices(const Carrier& instead, const Config& config) {
    if (!dataplane::is_kernel_plane_left(config.device)) return {};
    if (const auto can = instead.probe(); !can) return tl::unexpected(can.error());
    return tell_removed(dataplane::detach_kernel_plane(kernel_config(config)));
}

Made make_only(const Carrier& carrier, const Config& config, const Clock& clock,
               const PlaneCalls& calls) {
    if (carrier.make != make_bpf) {
        if (auto ended = end_programs(config); !ended) return tl::unexpected(ended.error());
    }
    if (carrier.make != make_kernel) {
        if (auto ended = end_devices(carrier, config); !ended) {
            return tl::unexpected(ended.error());
        }
    }
    return carrier.make(config, clock, calls);
}

// What no other plane can do better: somebody else is in the way, or the configuration names what
// this host has not.
bool is_final(const Error& error) {
    return error.code == ErrorCode::conflict || error.code == ErrorCode::not_found;
}

Result<DataPlaneChoice> choose(const Config& config, const Clock& clock,
                               const PlaneCalls& calls) {
    std::string not_those;
    Error last;
    for (const auto& carrier : carriers) {
        auto plane = make_only(carrier, config, clock, calls);
        if (plane) return DataPlaneChoice{std::move(*plane), "auto" + not_those};
        last = plane.error();
        if (is_final(last)) break;
        not_those += "; not " + std::string(carrier.name) + ": " + last.context;
    }
    if (is_final(last)) return tl::unexpected(last);
    return tl::unexpected<Error>({last.code, "no data plane" + not_those});
}

}  // namespace

Result<DataPlaneChoice> make_data_plane(const Config& config, const Clock& clock,
                                        const PlaneCalls& calls) {
    if (config.data_plane == "auto") return choose(config, clock, calls);
    const auto* const carrier = std::ranges::find(carriers, config.data_plane, &Carrier::name);
    DSTM_ASSERT(carrier != carriers.end());  // or read_config lies
    auto plane = make_only(*carrier, config, clock, calls);
    if (!plane) return tl::unexpected<Error>(plane.error());
    return DataPlaneChoice{std::move(*plane), "configured"};
}

std::vector<ProbedPlane> probe_data_planes() {
    std::vector<ProbedPlane> out;
    for (const auto& carrier : carriers) {
        out.push_back({std::string(carrier.name), carrier.probe()});
    }
    return out;
}

Result<std::vector<std::string>> detach_data_plane(const Config& config) {
    auto removed = dataplane::detach_kernel_plane(kernel_config(config));
    if (!removed && removed.error().code == ErrorCode::conflict) return removed;
    const auto programs = bpf::detach(config.device, pools_of(config));
    // What has been removed is told, also when something else could not be.
    if (!removed && programs) tell(*programs);
    if (!removed) return removed;
    if (!programs) tell(*removed);
    if (!programs) return programs;
    removed->insert(removed->end(), programs->begin(), programs->end());
    return removed;
}

}  // namespace dstm::tep
