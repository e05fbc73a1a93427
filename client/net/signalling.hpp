// Signalling by TCP, UDP or both in turn: finds the server, connects, authenticates, carries
// commands (RFC 5572 s4.4.1). Knows neither retries nor tunnels.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/auth/sasl_client.hpp"
#include "client/ports.hpp"
#include "client/transport.hpp"
#include "common/tsp/client_session.hpp"
#include "common/tsp/udp_client.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::client {

struct SignallingConfig {
    tsp::RequestType type = tsp::RequestType::v4v6;
    Identity identity;
    std::vector<std::string> mechanisms;                     // accepted, best first
    Transport transport = Transport::automatic;
    std::optional<TlsSettings> tls;                          // then by TLS alone
    Duration connect_timeout = std::chrono::seconds(5);      // TCP, each address
    Duration attempt_delay = std::chrono::milliseconds(250);  // RFC 8305 s5
    Duration greeting_timeout = std::chrono::seconds(5);  // TCP, while other addresses wait
    Duration flush_timeout = std::chrono::seconds(2);        // TCP: what is unsent when it closes
    Duration udp_flush_timeout = std::chrono::seconds(5);    // UDP: two repeats
    std::size_t addresses_max = 16;                          // of one name
    tsp::ClientSessionConfig session;
    tsp::UdpClientConfig udp;  // but for the session and the first sequence
    std::optional<GoodServer> last_good;  // its address is tried before the DNS has answered
    // Called when last_good is another one.
    std::function<void(const GoodServer&)> remember = [](const GoodServer&) {};
};

// `handler` is called on the context's thread. `clock` and `context` outlive the result.
[[nodiscard]] std::unique_ptr<Signalling> make_signalling(boost::asio::io_context& context,
                                                          const Clock& clock,
                                                          SignallingConfig config,
                                                          EventHandler handler);

}  // namespace dstm::client
