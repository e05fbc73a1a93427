// The edges of the client as interfaces: what the engine's actions are carried out by. Each has an
// in-memory twin in the tests.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "client/engine_values.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/data_plane.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::client {

using EventHandler = std::function<void(const Event&)>;

// One dialogue with one server at a time. What happens is told as SessionOpened, SessionFailed and
// Answered, never from within a call.
class Signalling {
public:
    virtual ~Signalling() = default;
    virtual void connect(const Target& server) = 0;
    // With the addresses of that server that were not tried yet: for SessionFailed, or after
    // SessionOpened, said that there are others.
    virtual void connect_elsewhere() = 0;
    virtual void send(const tsp::TunnelMessage& message) = 0;
    // Sends what is still to be sent; tells nothing any more.
    virtual void close() = 0;
    // Where the kernel would send from to this peer; nullopt when it has no route or address.
    [[nodiscard]] virtual std::optional<IpAddress> source_towards(const IpEndpoint& peer) = 0;

    // RFC 5572 s4.5.2: v6udpv4 has one socket for signalling and data. A duplicate of the one of
    // the present dialogue; unavailable: it has none that could carry data.
    [[nodiscard]] virtual Result<dataplane::Descriptor> lend_socket() {
        return fail(ErrorCode::unavailable, "this signalling has no UDP socket");
    }
    // Who reads the socket that was lent: the data plane, which brings what is signalling to
    // receive(), or this again.
    virtual void data_plane_reads(bool reads) { static_cast<void>(reads); }
    virtual void receive(const IpEndpoint& from, std::string_view datagram) {
        static_cast<void>(from);
        static_cast<void>(datagram);
    }
};

// Everything the client changes on the host. The removing calls may be made at any time and leave
// nothing of ours, also after an install that failed half-way.
class HostNetwork {
public:
    virtual ~HostNetwork() = default;
    [[nodiscard]] virtual Result<void> install(const TunnelSpec& spec) = 0;
    [[nodiscard]] virtual Result<void> set_routes() = 0;
    [[nodiscard]] virtual Result<void> clear_routes() = 0;
    [[nodiscard]] virtual Result<void> remove(const IpAddress& inner) = 0;
    [[nodiscard]] virtual std::optional<dataplane::TunnelCounters> counters() const = 0;
    // Of the tunnel's device, in inner bytes; none while there is no device.
    [[nodiscard]] virtual std::optional<std::uint32_t> mtu() { return std::nullopt; }
    // Larger inner packets than the smallest that every path must carry do not arrive.
    [[nodiscard]] virtual Result<void> use_smallest_mtu() { return {}; }
};

// ICMP or ICMPv6 echo through the tunnel. Answers are told as KeepaliveAnswered.
class EchoProbe {
public:
    virtual ~EchoProbe() = default;
    virtual void send(const SendKeepalive& echo) = 0;
    // Echoes that have left so far.
    [[nodiscard]] virtual std::uint64_t sent() const = 0;
    // Tells `to` that what it sends to `from` must not be larger than `mtu`: an ICMP error, as if a
    // router on the way had said so.
    virtual void say_too_big(const IpAddress& from, const IpAddress& to, std::uint32_t mtu) {
        static_cast<void>(from);
        static_cast<void>(to);
        static_cast<void>(mtu);
    }
    // Of the last answer.
    [[nodiscard]] virtual std::optional<std::chrono::microseconds> round_trip() const = 0;
    // The tunnel goes: nothing is held on the device any more.
    virtual void close() = 0;
};

}  // namespace dstm::client
