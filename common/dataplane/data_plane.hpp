// The interface behind which packets are carried: the endpoint and the client know only this.
//
// Implementations: tun and kernel (here), bpf (tep/bpf). What each must do with a packet is written
// once, in tunnel/reference_model.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/tunnel/spec.hpp"

namespace dstm::dataplane {

// Up is from the client (decapsulated here), down is towards it (encapsulated here), as seen by
// the endpoint; a client's own plane counts with the same words.
struct TunnelCounters {
    std::uint64_t packets_up = 0;
    std::uint64_t bytes_up = 0;  // inner bytes
    std::uint64_t packets_down = 0;
    std::uint64_t bytes_down = 0;
    WallTime last_seen_up;  // 1970 when nothing has come yet
    WallTime last_seen_down;

    [[nodiscard]] WallTime last_seen() const { return std::max(last_seen_up, last_seen_down); }
};

struct InstalledTunnel {
    TunnelSpec spec;
    TunnelCounters counters;
};

// Name of the counter (docs/counters.md) to its value.
using DropCounters = std::map<std::string, std::uint64_t, std::less<>>;

class DataPlane {
public:
    virtual ~DataPlane() = default;

    // "tun", "bpf", "kernel"
    [[nodiscard]] virtual std::string_view name() const = 0;

    // Installs, or replaces in one step what stands for the same inner address: there is no moment
    // at which neither the old nor the new carries. Counters live on over a replacement.
    // conflict: what is installed has a higher generation. The same generation again is no error.
    [[nodiscard]] virtual Result<void> add(const TunnelSpec& spec) = 0;

    // not_found: nothing stands for this inner address. conflict: what stands has a generation
    // higher than `up_to`, so this removal is late.
    [[nodiscard]] virtual Result<void> remove(const IpAddress& inner, Generation up_to) = 0;

    [[nodiscard]] virtual std::vector<InstalledTunnel> list() const = 0;
    // Of these tunnels, in this order; zeros for one that is not installed. Where there are many
    // tunnels it costs what is asked for, and not what is installed.
    [[nodiscard]] virtual std::vector<TunnelCounters> counters(
        std::span<const IpAddress> inner) const {
        std::vector<TunnelCounters> out(inner.size());
        for (const auto& tunnel : list()) {
            const auto found = std::ranges::find(inner, tunnel.spec.inner);
            if (found != inner.end()) out[found - inner.begin()] = tunnel.counters;
        }
        return out;
    }
    [[nodiscard]] virtual DropCounters drops() const = 0;

    // Client: a probe has found that the path carries no larger outer packet and does not say so.
    // Holds as if a packet-too-big message had told: for ten minutes (RFC 8201 s5.3), until a move.
    [[nodiscard]] virtual Result<void> lower_path_mtu(std::uint32_t outer_mtu) {
        static_cast<void>(outer_mtu);
        return fail(ErrorCode::unavailable, "this data plane learns path MTUs by itself only");
    }

    // v6udpv4: sends a TSP datagram (first nibble 0xF) from the plane's UDP port, the one that
    // carries the data (RFC 5572 s4.4.1.2). unavailable: this plane has none, or cannot send now.
    [[nodiscard]] virtual Result<void> send_tsp(const IpEndpoint& peer, ConstBytes datagram) {
        static_cast<void>(peer);
        static_cast<void>(datagram);
        return fail(ErrorCode::unavailable, "this data plane has no UDP port");
    }
};

}  // namespace dstm::dataplane
