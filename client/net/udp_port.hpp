// One UDP socket of the client towards one server, and who hears what comes there.
//
// Of a v6udpv4 tunnel it carries the data too (RFC 5572 s4.5.2, B5): it then outlives the dialogue,
// and while a data plane reads it, that one hands over what is signalling.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"
#include "common/io/asio.hpp"

namespace dstm::client {

class UdpPort : public std::enable_shared_from_this<UdpPort> {
public:
    using Udp = asio::ip::udp;
    // With an error: the network says that the server cannot be reached.
    using Receiver = std::function<void(const ErrorCodeOfAsio& error, std::string_view datagram)>;

    explicit UdpPort(asio::io_context& context) : context_(context), socket_(context) {}

    // Where the kernel would send from to this server; nullopt: it has no route or address.
    [[nodiscard]] static std::optional<asio::ip::address> source_towards(
        asio::io_context& context, const Udp::endpoint& server);

    // A port that carries data is bound and not connected, as the data plane wants it; any other is
    // connected, so that the network's errors show.
    [[nodiscard]] ErrorCodeOfAsio open(const Udp::endpoint& server, bool carries_data);
    // Towards this server, and from where the kernel would still send.
    [[nodiscard]] bool still_serves(const Udp::endpoint& server) const;
    [[nodiscard]] const Udp::endpoint& server() const { return server_; }
    [[nodiscard]] std::optional<Udp::endpoint> local() const;

    // Replaces who was told before. The receiver is kept until its owner stops listening; whoever
    // was replaced stops nothing.
    void listen(const void* owner, Receiver receiver);
    void stop_listening(const void* owner);
    // What the kernel does not take is lost, like any datagram.
    void send(const std::string& datagram);

    [[nodiscard]] Result<dataplane::Descriptor> duplicate();
    void data_plane_reads(bool reads);
    // From the data plane.
    void deliver(const Udp::endpoint& from, std::string_view datagram);

private:
    void read();

    asio::io_context& context_;
    Udp::socket socket_;
    Udp::endpoint server_;
    Receiver receiver_;
    const void* owner_ = nullptr;  // of the receiver
    bool is_connected_ = false;
    bool is_reading_ = false;
    bool data_plane_reads_ = false;
    Udp::endpoint from_;
    std::array<char, 8192> inbox_{};
};

}  // namespace dstm::client
