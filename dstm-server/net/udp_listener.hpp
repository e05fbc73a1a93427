// The UDP side of TSP (RFC 5572 s4.4.1.2), over IPv6 and IPv4, beside the TCP listeners: sockets
// and time around a tsp::UdpServer, and an owner for each of its exchanges.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/tsp/udp_server.hpp"
#include "dstm-server/auth/authenticator.hpp"
#include "dstm-server/net/tunnel_service.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::server::net {

struct UdpListenerConfig {
    std::vector<IpEndpoint> listen;  // "::" serves IPv4 as well if its port is listed for none
    tsp::ServerSessionConfig session;
    tsp::UdpServerLimits limits;
};

struct UdpListenerStatus {
    std::size_t exchanges = 0;
    std::uint64_t send_failed = 0;  // the kernel did not take a reply
    tsp::UdpServerCounters counters;
};

class UdpListener {
public:
    using IsWilling = std::function<bool()>;

    // All of them outlive the listener. `is_willing`: would a new client be served now? It decides
    // how ECHO REQUEST is answered.
    UdpListener(UdpListenerConfig config, boost::asio::io_context& events, const Clock& clock,
                Authenticator& authenticator, TunnelService& tunnels, IsWilling is_willing);
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
