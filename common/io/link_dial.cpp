// The dialling end of a link: connect, TLS, the WebSocket upgrade, all within one bound of time.
#include <sys/un.h>

#include "common/io/link_over.hpp"
#include "common/io/tls_context.hpp"

namespace dstm::io {
namespace {

// One attempt. Keeps itself alive through its pending operation until `done` has run.
template <class Next>
class Dial : public std::enable_shared_from_this<Dial<Next>> {
public:
    using Stream = websocket::stream<Next>;

    Dial(asio::io_context& context, std::string host, LinkOptions options, OnConnected done)
        : context_(context),
          host_(std::move(host)),
          options_(std::move(options)),
          done_(std::move(done)),
          limit_(context) {}
    virtual ~Dial() = default;

    void run() {
        limit_.after(options_.handshake_max, [weak = this->weak_from_this()] {
            if (auto self = weak.lock()) self->give_up({ErrorCode::timed_out, "no link in time"});
        });
        connect();
    }

protected:
    virtual void connect() = 0;
    virtual Result<std::string> find_peer_name() = 0;
    virtual std::string peer_address() = 0;

    auto self() { return std::static_pointer_cast<Dial>(this->shared_from_this()); }
    Next& next() { return stream_->next_layer(); }
    asio::io_context& context() { return context_; }
    const std::string& host() const { return host_; }
    bool is_over() const { return !done_; }

    void upgrade() {
        stream_->set_option(
            websocket::stream_base::decorator([this](websocket::request_type& head) {
                head.set(http::field::sec_websocket_protocol, options_.subprotocol);
            }));
        stream_->async_handshake(
            response_, host_, options_.target,
            [self = self()](const ErrorCodeOfAsio& error) { self->on_upgraded(error); });
    }

    void give_up(Error error) {
        if (is_over()) return;
        limit_.cancel();
        if (stream_) {
            ErrorCodeOfAsio ignored;
            beast::get_lowest_layer(*stream_).close(ignored);
        }
        std::exchange(done_, nullptr)(tl::unexpected<Error>(std::move(error)));
    }

    std::unique_ptr<Stream> stream_;

private:
    void on_upgraded(const ErrorCodeOfAsio& error) {
        if (is_over()) return;
        if (error) return give_up(link_error(error, "WebSocket handshake"));
        if (response_[http::field::sec_websocket_protocol] != options_.subprotocol) {
            return give_up({ErrorCode::refused, "the server does not speak our subprotocol"});
        }
        auto name = find_peer_name();
        if (!name) return give_up(name.error());
        limit_.cancel();
        auto address = peer_address();
        std::exchange(done_, nullptr)(std::make_shared<LinkOver<Next>>(
            context_, std::move(stream_), options_, std::move(*name), std::move(address)));
    }

    asio::io_context& context_;
    std::string host_;
    LinkOptions options_;
    OnConnected done_;
    Timer limit_;
    websocket::response_type response_;
};

class UnixDial final : public Dial<Unix::socket> {
public:
    UnixDial(asio::io_context& context, std::string path, LinkOptions options, OnConnected done)
        : Dial(context, "localhost", std::move(options), std::move(done)), path_(std::move(path)) {}

private:
    void connect() override {
        stream_ = std::make_unique<Stream>(context());
        next().async_connect(Unix::endpoint(path_),
                             [this, self = self()](const ErrorCodeOfAsio& error) {
                                 if (is_over()) return;
                                 if (error) return give_up(link_error(error, "connect " + path_));
                                 upgrade();
                             });
    }
    Result<std::string> find_peer_name() override { return std::string(); }
    std::string peer_address() override { return "unix"; }

    std::string path_;
};

class TlsDial final : public Dial<TlsStream> {
public:
    TlsDial(asio::io_context& context, std::string host, std::uint16_t port, ssl::context tls,
            LinkOptions options, OnConnected done)
        : Dial(context, std::move(host), std::move(options), std::move(done)),
          port_(port),
          tls_(std::move(tls)),
          resolver_(context) {}

private:
    void connect() override {
        stream_ = std::make_unique<Stream>(context(), tls_);
        resolver_.async_resolve(host(), std::to_string(port_), Tcp::resolver::numeric_service,
                                [this, self = self()](const ErrorCodeOfAsio& error,
                                                      const Tcp::resolver::results_type& found) {
                                    if (is_over()) return;
                                    if (error) return give_up(link_error(error, "find " + host()));
                                    connect_to(found);
                                });
    }

    void connect_to(const Tcp::resolver::results_type& found) {
        asio::async_connect(
            beast::get_lowest_layer(*stream_), found,
            [this, self = self()](const ErrorCodeOfAsio& error, const Tcp::endpoint&) {
                if (is_over()) return;
                if (error) return give_up(link_error(error, "connect " + host()));
                start_tls();
            });
    }

    void start_tls() {
        ErrorCodeOfAsio ignored;
        beast::get_lowest_layer(*stream_).set_option(Tcp::no_delay(true), ignored);
        if (auto expected = expect_host(next(), host()); !expected) {
            return give_up(expected.error());
        }
        next().async_handshake(ssl::stream_base::client,
                               [this, self = self()](const ErrorCodeOfAsio& error) {
                                   if (is_over()) return;
                                   if (error) return give_up(link_error(error, "TLS handshake"));
                                   upgrade();
                               });
    }

    Result<std::string> find_peer_name() override { return peer_common_name(next()); }
    std::string peer_address() override { return host() + ":" + std::to_string(port_); }

    std::uint16_t port_;
    ssl::context tls_;
    Tcp::resolver resolver_;
};

}  // namespace

Error link_error(const ErrorCodeOfAsio& error, std::string_view doing) {
    const auto& category = error.category();
    ErrorCode code = ErrorCode::unavailable;
    if (error == websocket::error::message_too_big || error == websocket::error::buffer_overflow) {
        code = ErrorCode::invalid;
    } else if (error == websocket::error::closed) {
        code = ErrorCode::closed;
    } else if (category == asio::error::get_ssl_category() ||
               category == ErrorCodeOfAsio(websocket::error::closed).category() ||
               category == ErrorCodeOfAsio(http::error::bad_method).category()) {
        code = ErrorCode::refused;
    }
    return Error{code, std::string(doing) + ": " + error.message()};
}

void connect_unix(asio::io_context& context, const std::string& path, LinkOptions options,
                  OnConnected done) {
    if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) {
        asio::post(context, [done = std::move(done), path] {
            done(fail(ErrorCode::invalid, path + ": not the path of a UNIX socket"));
        });
        return;
    }
    std::make_shared<UnixDial>(context, path, std::move(options), std::move(done))->run();
}

void connect_tls(asio::io_context& context, const std::string& host, std::uint16_t port,
                 const TlsFiles& tls, LinkOptions options, OnConnected done) {
    auto loaded = make_tls_context(tls);
    if (!loaded) {
        asio::post(context, [done = std::move(done), error = loaded.error()] {
            done(tl::unexpected<Error>(error));
        });
        return;
    }
    std::make_shared<TlsDial>(context, host, port, std::move(*loaded), std::move(options),
                              std::move(done))
        ->run();
}

}  // namespace dstm::io
