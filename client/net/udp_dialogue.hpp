// A dialogue over UDP with one address of the server: one port, whose number nobody off the path
// knows, around a tsp::UdpClient (RFC 5572 s4.4.1.2; D10: over IPv6 as over IPv4).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "client/net/dialogue.hpp"
#include "client/net/udp_port.hpp"

namespace dstm::client {

class UdpDialogue final : public Dialogue {
public:
    // `tunnel_port`: of the tunnel that stands, if it has one. It is used again where it still
    // leads to the server, so that the NAT mapping stays. The server's address stays in the list,
    // for a new port when nobody answers there.
    UdpDialogue(const Surroundings& around, const SignallingConfig& config,
                std::shared_ptr<ServerAddresses> addresses, EventHandler handler,
                std::shared_ptr<UdpPort> tunnel_port);

    [[nodiscard]] std::shared_ptr<UdpPort> udp_port() const override { return port_; }

private:
    using Udp = asio::ip::udp;

    tsp::client::Actions feed(const SessionEvent& event, Instant now) override;
    std::optional<Instant> deadline() const override;
    void try_addresses() override;
    void transmit(std::string bytes) override;
    std::optional<Ends> ends() const override;
    bool is_flushed() const override;
    void flush() override;
    void close_socket() override;
    std::optional<std::string> silence() const override;

    std::shared_ptr<UdpDialogue> self();
    void connect_next();
    [[nodiscard]] bool take_tunnel_port();
    [[nodiscard]] ErrorCodeOfAsio open_port();
    void begin_session();
    void received(const ErrorCodeOfAsio& error, std::string_view datagram);
    void received_after_finish(const ErrorCodeOfAsio& error, std::string_view datagram);
    void repeat_when_due();

    std::optional<tsp::UdpClient> session_;
    std::shared_ptr<UdpPort> tunnel_port_;
    std::shared_ptr<UdpPort> port_;
    Udp::endpoint server_;
    bool is_refused_ = false;  // an ICMP error came
    std::optional<Instant> flush_by_;
};

}  // namespace dstm::client
