// The TCP listeners for TSP (RFC 5572 s4.4.1.1), over IPv6 and IPv4, one of them with TLS, and the
// connections they made.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/io/byte_stream.hpp"
#include "common/tsp/server_session.hpp"
#include "common/tsp/throttle.hpp"
#include "dstm-server/auth/authenticator.hpp"
#include "dstm-server/net/tunnel_service.hpp"

namespace dstm::server::net {

// A port of its own, where TSP runs over TLS.
struct TspTls {
    IpEndpoint listen;
    io::TlsServer::Files files;
};

struct TspServerConfig {
    std::vector<IpEndpoint> listen;  // "::" serves IPv4 as well if its port is listed for none
    std::optional<TspTls> tls;
    // But for the mechanisms, which depend on the connection.
    tsp::ServerSessionConfig session;
    std::size_t sessions_max = 10000;
    std::size_t sessions_per_address_max = 32;
    std::size_t output_size_max = 64 * 1024;              // bytes that one peer has not taken
    Duration write_timeout = std::chrono::seconds(30);
    tsp::Throttle::Limits tries;
};

class TspServer {
public:
    // All of them outlive the server.
    TspServer(TspServerConfig config, boost::asio::io_context& events, const Clock& clock,
              Authenticator& authenticator, TunnelService& tunnels);
    // Connections end without a word, and their dialogues are closed at the tunnel service.
    ~TspServer();
    TspServer(const TspServer&) = delete;
    TspServer& operator=(const TspServer&) = delete;

    // invalid, unavailable: an address cannot be listened on; the context names it.
    [[nodiscard]] Result<void> start();
    // For connections from now on. The listening addresses and certificates stay as they are.
    void reconfigure(TspServerConfig config);

    // Where it listens, TLS last, with the ports that were chosen for 0.
    [[nodiscard]] std::vector<IpEndpoint> local_endpoints() const;
    [[nodiscard]] std::size_t sessions() const;
    [[nodiscard]] const tsp::Throttle::Counters& throttled() const;

private:
    class Machine;
    std::unique_ptr<Machine> machine_;
};

}  // namespace dstm::server::net
