// A dialogue over UDP: one connected socket, whose port nobody off the path knows, around a
// tsp::UdpClient (RFC 5572 s4.4.1.2; D10: over IPv6 as over IPv4).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "client/net/dialogue.hpp"

namespace dstm::client {

class UdpDialogue final : public Dialogue {
public:
    UdpDialogue(const Surroundings& around, const SignallingConfig& config, Target server,
                EventHandler handler);

private:
    using Udp = asio::ip::udp;

    tsp::client::Actions feed(const SessionEvent& event, Instant now) override;
    std::optional<Instant> deadline() const override;
    void connect_next() override;
    void transmit(std::string bytes) override;
    std::optional<Ends> ends() const override;
    bool is_flushed() const override;
    void flush() override;
    void close_socket() override;
    bool tries_next() override;

    std::shared_ptr<UdpDialogue> self();
    void read_more(unsigned attempt);
    void repeat_when_due();

    std::optional<tsp::UdpClient> session_;  // of the present address
    Udp::socket socket_;
    Udp::endpoint server_;
    unsigned attempt_ = 0;  // counts the addresses: what a closed socket still tells is not heard
    std::size_t addresses_left_;
    bool is_refused_ = false;  // an ICMP error came
    std::optional<Instant> flush_by_;
    std::array<char, 8192> inbox_{};
};

}  // namespace dstm::client
