// A TSP server over UDP that follows a script, in the same event loop as what is tested.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "common/io/asio.hpp"
#include "common/tsp/udp_header.hpp"

namespace dstm::client {

inline std::string framed(const std::string& body) {
    return "Content-length: " + std::to_string(body.size()) + "\r\n" + body;
}

inline const std::string info =
    framed("200 Success\r\n<tunnel action=\"info\" type=\"v4v6\" lifetime=\"60\"><server>"
           "<address type=\"ipv4\">192.0.2.1</address>"
           "<address type=\"ipv6\">2001:db8:2::1</address></server><client>"
           "<address type=\"ipv4\">192.0.2.7</address>"
           "<address type=\"ipv6\">::1</address></client></tunnel>\r\n");

// Answers by what a datagram holds; loses the first copies of each if told so.
class UdpScript {
public:
    explicit UdpScript(asio::io_context& context,
                       const asio::ip::address& address = asio::ip::address_v6::loopback(),
                       std::uint16_t port = 0)
        : socket_(context, {address, port}) {
        read();
    }
    [[nodiscard]] std::uint16_t port() const { return socket_.local_endpoint().port(); }

    bool is_silent = false;
    std::string silent_to;  // datagrams that hold this are lost, `losses` of them
    int losses = 0;
    std::string offer = info;
    std::vector<std::string> datagrams;
    std::vector<asio::ip::udp::endpoint> peers;  // of each datagram
    asio::ip::udp::socket& socket() { return socket_; }
    [[nodiscard]] int count(const std::string& what) const {
        return static_cast<int>(std::count_if(
            datagrams.begin(), datagrams.end(),
            [&](const auto& one) { return one.find(what) != std::string::npos; }));
    }

private:
    void read() {
        socket_.async_receive_from(asio::buffer(buffer_), peer_,
                                   [this](const ErrorCodeOfAsio& error, std::size_t size) {
                                       if (error) return;
                                       answer({buffer_.data(), size});
                                       read();
                                   });
    }
    void answer(const std::string& datagram) {
        datagrams.push_back(datagram);
        peers.push_back(peer_);
        const auto packet = tsp::decode_udp_packet(datagram);
        if (is_silent || !packet) return;
        const auto has = [&](const char* word) {
            return packet->data.find(word) != std::string_view::npos;
        };
        if (!silent_to.empty() && has(silent_to.c_str()) && losses-- > 0) return;
        std::string reply;
        if (has("VERSION")) reply = "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n";
        if (has("AUTHENTICATE")) reply = "200 Success\r\n";
        if (has("create")) reply = offer;
        socket_.send_to(asio::buffer(tsp::encode_udp_packet({packet->header, reply})), peer_);
    }
    asio::ip::udp::socket socket_;
    asio::ip::udp::endpoint peer_;
    std::array<char, 4096> buffer_{};
};

}  // namespace dstm::client
