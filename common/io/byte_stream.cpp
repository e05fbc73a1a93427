// Asio's sockets and its TLS streams behind one interface.
#include "common/io/byte_stream.hpp"

#include <utility>

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
    EncryptedStream(Socket socket, ssl::context& context) : stream_(std::move(socket), context) {}

    void begin(Done done) override {
        stream_.async_handshake(ssl::stream_base::server, std::move(done));
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

private:
    TlsStream stream_;
};

class OpenSslServer final : public TlsServer {
public:
    explicit OpenSslServer(ssl::context context) : context_(std::move(context)) {}

    // OpenSSL counts the references of its context.
    std::unique_ptr<ByteStream> make_stream(ByteStream::Socket socket) override {
        return std::make_unique<EncryptedStream>(std::move(socket), context_);
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

}  // namespace dstm::io
