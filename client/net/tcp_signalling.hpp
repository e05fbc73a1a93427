// Signalling over TCP: finds the server, connects, authenticates, carries commands (RFC 5572
// s4.4.1, v4v6 over IPv6). Knows neither retries nor tunnels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/auth/sasl_client.hpp"
#include "client/ports.hpp"
#include "common/tsp/client_session.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::client {

struct TcpSignallingConfig {
    Identity identity;
    std::vector<std::string> mechanisms;                     // accepted, best first
    Duration connect_timeout = std::chrono::seconds(5);      // each address
    Duration flush_timeout = std::chrono::seconds(2);        // what is unsent when it closes
    std::size_t addresses_max = 16;                          // of one name
    tsp::ClientSessionConfig session;
};

// `handler` is called on the context's thread. `clock` and `context` outlive the result.
[[nodiscard]] std::unique_ptr<Signalling> make_tcp_signalling(boost::asio::io_context& context,
                                                              const Clock& clock,
                                                              TcpSignallingConfig config,
                                                              EventHandler handler);

}  // namespace dstm::client
