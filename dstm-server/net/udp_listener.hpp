// The UDP side of TSP (RFC 5572 s4.4.1.2), beside the TCP listeners: sockets over IPv6 and IPv4,
// the datagrams that endpoints relay, and time around a tsp::UdpServer, and an owner for each of
// its exchanges.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tsp/udp_server.hpp"
#include "dstm-server/auth/authenticator.hpp"
#include "dstm-server/datagram_relay.hpp"
#include "dstm-server/net/tunnel_service.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::server::net {

struct UdpListenerConfig {
    // May be empty: then only what is relayed comes. "::" serves IPv4 as well if its port is listed
    // for none.
    std::vector<IpEndpoint> listen;
    tsp::ServerSessionConfig session;
    tsp::UdpServerLimits limits;
};

struct UdpListenerStatus {
    std::size_t exchanges = 0;
    std::uint64_t relayed = 0;      // datagrams that came through endpoints
    std::uint64_t send_failed = 0;  // the kernel, or an endpoint's link, did not take a reply
    tsp::UdpServerCounters counters;
    tsp::Throttle::Counters throttled;
};

class UdpListener {
public:
    using IsWilling = std::function<bool()>;

    // All of them outlive the listener. `is_willing`: would a new client be served now? It decides
    // how ECHO REQUEST is answered.
    UdpListener(UdpListenerConfig config, boost::asio::io_context& events, const Clock& clock,
                Authenticator& authenticator, TunnelService& tunnels, DatagramRelay& relay,
                IsWilling is_willing);
    // Dialogues end without a word, and are closed at the tunnel service.
    ~UdpListener();
    UdpListener(const UdpListener&) = delete;
    UdpListener& operator=(const UdpListener&) = delete;

    // invalid, unavailable: an address cannot be listened on; the context names it.
    [[nodiscard]] Result<void> start();
    // For dialogues from now on. The listening addresses stay as they are.
    void reconfigure(UdpListenerConfig config);

    // In the order of the configuration, with the ports that were chosen for 0.
    [[nodiscard]] std::vector<IpEndpoint> local_endpoints() const;
    [[nodiscard]] UdpListenerStatus status() const;

private:
    class Machine;
    std::unique_ptr<Machine> machine_;
};

}  // namespace dstm::server::net
