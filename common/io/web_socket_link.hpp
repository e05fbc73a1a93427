// A WebSocket (RFC 6455) that carries text frames, over a UNIX socket or over TLS 1.3 with
// certificates on both sides, at the dialling and at the accepting end alike.
//
// Does not know what is in a frame. Bounds: the size of a frame, of the queue to send, of the time
// a handshake takes and of the time the other side may be silent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/io/fwd.hpp"

namespace dstm::io {

struct LinkOptions {
    std::string target;       // of the HTTP request, e.g. "/dstm/endpoint"
    std::string subprotocol;  // both sides must name it
    std::size_t frame_size_max = std::size_t{1} << 20;
    std::size_t queue_size_max = std::size_t{8} << 20;  // bytes that wait to be sent
    Duration ping_every = std::chrono::seconds(10);
    Duration silent_max = std::chrono::seconds(30);
    Duration handshake_max = std::chrono::seconds(5);  // from connect or accept to open
    Duration close_max = std::chrono::seconds(1);      // from close() to the end of the socket
};

// Files in PEM. The other side's certificate must be signed by `ca`.
struct TlsFiles {
    std::string certificate;
    std::string key;
    std::string ca;
};

class WebSocketLink {
public:
    // A whole text frame.
    using OnFrame = std::function<void(std::string)>;
    // The link is no more; runs once. closed: the other side closed it, or we did, in good order.
    using OnClosed = std::function<void(Error)>;

    virtual ~WebSocketLink() = default;

    // Nothing is read before this. The callbacks are kept until the link has closed; what they
    // capture lives as long.
    virtual void start(OnFrame on_frame, OnClosed on_closed) = 0;
    // exhausted: the other side does not read and the queue is full. closed: the link is closing.
    [[nodiscard]] virtual Result<void> send(std::string frame) = 0;
    // Bytes that wait to be sent.
    [[nodiscard]] virtual std::size_t queued() const = 0;
    // Sends what is queued, says why (RFC 6455 s7.1.6, cut at 123 bytes) and waits for close_max.
    virtual void close(std::string why) = 0;
    // The subject CN of the other side's verified certificate; empty over a UNIX socket.
    [[nodiscard]] virtual const std::string& peer_name() const = 0;
    // For logs: "unix" or "[2001:db8::1]:3654".
    [[nodiscard]] virtual const std::string& peer_address() const = 0;
};

using LinkPtr = std::shared_ptr<WebSocketLink>;
using OnConnected = std::function<void(Result<LinkPtr>)>;

// `done` runs once, within handshake_max; what it captures must be alive then.
// unavailable, timed_out: nobody there. refused: there, but not the one we want (certificate,
// protocol), or it does not want us. invalid: a file of `tls` cannot be used.
void connect_unix(asio::io_context& context, const std::string& path, LinkOptions options,
                  OnConnected done);
// The server's certificate must hold `host`, a name or an address, in its subject alternative name.
void connect_tls(asio::io_context& context, const std::string& host, std::uint16_t port,
                 const TlsFiles& tls, LinkOptions options, OnConnected done);

// Listens until it is destroyed. Links that were accepted live on.
class LinkAcceptor {
public:
    using OnLink = std::function<void(LinkPtr)>;
    // Why a connection did not become a link; for a log line.
    using OnRejected = std::function<void(const std::string& peer, const Error& error)>;
    // Connections that are not links yet; those that come on top are closed at once.
    static constexpr std::size_t handshakes_max = 128;

    virtual ~LinkAcceptor() = default;
    [[nodiscard]] virtual std::uint16_t port() const = 0;  // 0 for a UNIX socket
};

// The file gets mode 0660, replaces a socket on which nobody listens, and goes with the acceptor.
// conflict: somebody listens there, or the path is not a socket.
[[nodiscard]] Result<std::unique_ptr<LinkAcceptor>> listen_unix(
    asio::io_context& context, const std::string& path, LinkOptions options,
    LinkAcceptor::OnLink on_link, LinkAcceptor::OnRejected on_rejected);
[[nodiscard]] Result<std::unique_ptr<LinkAcceptor>> listen_tls(
    asio::io_context& context, const IpEndpoint& address, const TlsFiles& tls, LinkOptions options,
    LinkAcceptor::OnLink on_link, LinkAcceptor::OnRejected on_rejected);

}  // namespace dstm::io
