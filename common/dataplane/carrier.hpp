// What happens to a packet: the rules of the tun data plane, fast. Knows tunnels and bytes, no
// sockets, no threads, no clock. RFC 2473 (v4v6), RFC 4213 (v6v4; v6udpv4 is the same in UDP),
// RFC 6040; the same rules, slow and obvious, are in tunnel/reference_model.hpp, and a test holds
// the two together.
//
// Up: from the tunnel into the host. Down: from the host into the tunnel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/dataplane/drop.hpp"
#include "common/dataplane/icmp_error.hpp"
#include "common/dataplane/path_error.hpp"
#include "common/dataplane/segments.hpp"
#include "common/dataplane/tun_plane_config.hpp"
#include "common/dataplane/tunnel_table.hpp"

namespace dstm::dataplane {

struct Now {
    Instant instant;
    WallTime wall;
};

struct UpVerdict {
    std::optional<Drop> drop;
    std::size_t size = 0;  // of the inner packet; bytes behind it are not carried
    bool path_mtu_changed = false;
    std::uint32_t path_mtu = 0;  // to where it came from, when it changed
};

struct DownVerdict {
    std::optional<Drop> drop;
    std::size_t size = 0;
    Peer peer;                         // to which it goes
    std::uint8_t traffic_class = 0;    // outer
    std::uint32_t path_mtu = 0;        // of the outer packet, when it must be fragmented to it
    std::vector<std::uint8_t> answer;  // an ICMP error to send, when not empty
};

struct RelayVerdict {
    std::optional<Drop> drop;
    bool path_mtu_changed = false;
    std::uint32_t path_mtu = 0;  // when it changed
    std::vector<std::uint8_t> answer;
};

// What the path to a client's endpoint allows, with and without the outer headers.
struct ClientPath {
    std::uint32_t mtu = 0;
    std::uint32_t inner_mtu = 0;
    std::uint32_t inner_mtu_min = 0;  // of the type
};

class Carrier {
public:
    // The MTU of the host's route to a far end, without what this class has learned.
    using LinkMtu = std::function<std::uint32_t(const Peer&)>;

    Carrier(const TunPlaneConfig& config, LinkMtu link_mtu);

    // What add() would say, without adding.
    [[nodiscard]] Result<void> check_add(const TunnelSpec& spec) const;
    [[nodiscard]] Result<void> add(const TunnelSpec& spec);
    [[nodiscard]] Result<void> remove(const IpAddress& inner, Generation up_to);

    // Both may change the packet in place: ECN, MSS. One verdict holds for all that a packet stands
    // for, and each of them counts; down, where sizes matter, each is asked for.
    [[nodiscard]] UpVerdict up(const Peer& from, std::uint8_t traffic_class, MutableBytes payload,
                               Now now, SegmentSize segment_size = 0);
    [[nodiscard]] DownVerdict down(MutableBytes packet, Now now);
    // RFC 2473 s8, RFC 4213 s3.4.
    [[nodiscard]] RelayVerdict relay(const PathError& error, Now now);

    // None without a tunnel.
    [[nodiscard]] std::optional<ClientPath> client_path(Now now);
    // What a probe has found, as if a packet-too-big had told.
    void lower_client_path(std::uint32_t outer_mtu, Now now);

    [[nodiscard]] const TunnelTable& tunnels() const { return tunnels_; }
    [[nodiscard]] DropTable& drops() { return drops_; }
    [[nodiscard]] const DropTable& drops() const { return drops_; }

private:
    using Role = TunPlaneConfig::Role;
    using Checked = tl::expected<Tunnel*, Drop>;

    [[nodiscard]] bool is_client() const { return config_.role == Role::client; }
    [[nodiscard]] bool carries(TunnelType type) const;
    [[nodiscard]] Result<void> check_at_endpoint(const TunnelSpec& spec) const;
    [[nodiscard]] bool is_in_pools(const IpAddress& inner) const;
    [[nodiscard]] bool is_own(const IpAddress& inner) const;
    [[nodiscard]] Peer peer_of(const TunnelSpec& spec) const;
    [[nodiscard]] Checked check_up_at_endpoint(const InnerHeader& header, const Peer& from);
    [[nodiscard]] Checked check_up_at_client(const InnerHeader& header, const Peer& from);
    [[nodiscard]] Checked check_down_at_endpoint(ConstBytes packet, const InnerHeader& header);
    [[nodiscard]] Checked check_down_at_client(const InnerHeader& header);
    [[nodiscard]] std::uint32_t path_mtu(FarEnd& far_end, Instant now);
    [[nodiscard]] bool lower_path(FarEnd& far_end, std::uint32_t mtu, Instant now);
    void hear_of_path(ConstBytes packet, const InnerHeader& header, Tunnel& tunnel, Instant now,
                      UpVerdict& verdict);
    void clamp(MutableBytes packet, const InnerHeader& header, std::uint32_t inner_mtu) const;
    [[nodiscard]] RelayVerdict relay_without_quote(const PathError& error, Now now);
    [[nodiscard]] std::vector<std::uint8_t> answer(IcmpKind kind, std::uint32_t inner_mtu,
                                                   ConstBytes packet, const InnerHeader& header,
                                                   const Tunnel& tunnel) const;

    TunPlaneConfig config_;
    LinkMtu link_mtu_;
    TunnelTable tunnels_;
    DropTable drops_;
};

}  // namespace dstm::dataplane
