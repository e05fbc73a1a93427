// The bytes of one connection: over TCP, or over TLS on it. Does not know what they mean,
// nor any limit of time: who holds the stream closes its socket.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/base/result.hpp"
#include "common/io/asio.hpp"

namespace dstm::io {

class ByteStream {
public:
    using Socket = asio::ip::tcp::socket;
    using Done = std::function<void(const ErrorCodeOfAsio&)>;
    using Transferred = std::function<void(const ErrorCodeOfAsio&, std::size_t)>;

    virtual ~ByteStream() = default;
    // Before the first byte. Callbacks keep alive what they need; the stream must live on as well.
    virtual void begin(Done done) = 0;
    // asio::error::eof: the peer has said all in good order.
    virtual void read_some(asio::mutable_buffer buffer, Transferred done) = 0;
    virtual void write(asio::const_buffer bytes, Transferred done) = 0;
    // Behind the last byte: TLS says that nothing follows, and waits for the peer to say so too.
    virtual void end(Done done) = 0;

    [[nodiscard]] virtual bool is_encrypted() const = 0;
    // Subject CN of the peer's verified certificate, after begin(); empty: it has shown none.
    [[nodiscard]] virtual std::string certified_name() = 0;
    // For options, cancelling and closing; may be moved away when nothing is under way.
    [[nodiscard]] virtual Socket& socket() = 0;
};

[[nodiscard]] std::unique_ptr<ByteStream> make_plain_stream(ByteStream::Socket socket);

// The server's end of TLS 1.3 (RFC 8446) for any number of streams.
class TlsServer {
public:
    // PEM. Without `client_ca` no client is asked for a certificate; with it, one that shows a
    // certificate must have it from there, and one that shows none is let in.
    struct Files {
        std::string certificate;
        std::string key;
        std::string client_ca;
    };
    // invalid: a file is missing or broken, or the key is not the certificate's.
    [[nodiscard]] static Result<std::unique_ptr<TlsServer>> create(const Files& files);
    virtual ~TlsServer() = default;
    // The stream may outlive the server.
    [[nodiscard]] virtual std::unique_ptr<ByteStream> make_stream(ByteStream::Socket socket) = 0;
};

// The client's end. Files are read at each call, so that a renewed certificate is used.
struct TlsClientFiles {
    std::string ca;           // empty: the system's
    std::string certificate;  // empty, with the key: none is shown
    std::string key;
};
// `server_name` is what the server's certificate must be for: a DNS name or an address. invalid: a
// file is missing or broken, or the key is not the certificate's.
[[nodiscard]] Result<std::unique_ptr<ByteStream>> make_tls_client_stream(
    ByteStream::Socket socket, const TlsClientFiles& files, const std::string& server_name);
// Why a begin() with TLS failed: the server's certificate did not satisfy.
[[nodiscard]] bool is_bad_certificate(const ErrorCodeOfAsio& error);

}  // namespace dstm::io
