// Asio's sockets and its TLS streams behind one interface.
#include "common/io/byte_stream.hpp"

#include <utility>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/io/tls_context.hpp"

namespace dstm::io {
namespace {

class PlainStream final : public ByteStream {
public:
    explicit PlainStream(Socket socket) : socket_(std::move(socket)) {}

    void begin(Done done) override { succeed_later(std::move(done)); }
    void read_some(asio::mutable_buffer buffer, Transferred done) override {
        socket_.async_read_some(asio::buffer(buffer), std::move(done));
    }
    void write(asio::const_buffer bytes, Transferred done) override {
        asio::async_write(socket_, asio::buffer(bytes), std::move(done));
    }
    // The FIN is sent by who closes the socket.
    void end(Done done) override { succeed_later(std::move(done)); }
    bool is_encrypted() const override { return false; }
    std::string certified_name() override { return {}; }
    Socket& socket() override { return socket_; }

private:
    void succeed_later(Done done) {
        asio::post(socket_.get_executor(), [done = std::move(done)] { done({}); });
    }

    Socket socket_;
};

class EncryptedStream final : public ByteStream {
public:
    EncryptedStream(Socket socket, ssl::context& context, ssl::stream_base::handshake_type role)
        : stream_(std::move(socket), context), role_(role) {}

    void begin(Done done) override {
        stream_.async_handshake(role_, std::move(done));
    }
    void read_some(asio::mutable_buffer buffer, Transferred done) override {
        stream_.async_read_some(asio::buffer(buffer), std::move(done));
    }
    void write(asio::const_buffer bytes, Transferred done) override {
        asio::async_write(stream_, asio::buffer(bytes), std::move(done));
    }
    void end(Done done) override { stream_.async_shutdown(std::move(done)); }
    bool is_encrypted() const override { return true; }
    std::string certified_name() override { return peer_common_name(stream_).value_or(""); }
    Socket& socket() override { return stream_.next_layer(); }
    TlsStream& tls() { return stream_; }

private:
    TlsStream stream_;
    ssl::stream_base::handshake_type role_;
};

class OpenSslServer final : public TlsServer {
public:
    explicit OpenSslServer(ssl::context context) : context_(std::move(context)) {}

    // OpenSSL counts the references of its context.
    std::unique_ptr<ByteStream> make_stream(ByteStream::Socket socket) override {
        return std::make_unique<EncryptedStream>(std::move(socket), context_,
                                                 ssl::stream_base::server);
    }

private:
    ssl::context context_;
};

}  // namespace

std::unique_ptr<ByteStream> make_plain_stream(ByteStream::Socket socket) {
    return std::make_unique<PlainStream>(std::move(socket));
}

Result<std::unique_ptr<TlsServer>> TlsServer::create(const Files& files) {
    auto context = make_tls_context({files.certificate, files.key, files.client_ca},
                                    PeerCertificate::optional);
    if (!context) return tl::unexpected(context.error());
    return std::make_unique<OpenSslServer>(std::move(*context));
}

Result<std::unique_ptr<ByteStream>> make_tls_client_stream(ByteStream::Socket socket,
                                                           const TlsClientFiles& files,
                                                           const std::string& server_name) {
    auto context = make_tls_context({files.certificate, files.key, files.ca},
                                    PeerCertificate::of_server);
    if (!context) return tl::unexpected(context.error());
    auto stream = std::make_unique<EncryptedStream>(std::move(socket), *context,
                                                    ssl::stream_base::client);
    if (const auto set = expect_host(stream->tls(), server_name); !set) {
        return tl::unexpected(set.error());
    }
    return stream;
}

bool is_bad_certificate(const ErrorCodeOfAsio& error) {
    return error.category() == asio::error::get_ssl_category() &&
           ERR_GET_REASON(static_cast<unsigned long>(error.value())) ==
               SSL_R_CERTIFICATE_VERIFY_FAILED;
}

}  // namespace dstm::io
