// The accepting end of links: accept, TLS, the WebSocket upgrade, all within one bound of time.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "common/io/link_over.hpp"
#include "common/io/tls_context.hpp"
#include "common/io/unix_listener.hpp"

namespace dstm::io {
namespace {

constexpr std::size_t upgrade_size_max = 8 * 1024;
constexpr Duration accept_pause = std::chrono::milliseconds(100);

// What an acceptor and the handshakes it began have in common. Goes with the acceptor; handshakes
// that find it gone drop their connection.
struct Shared {
    asio::io_context& context;
    LinkOptions options;
    LinkAcceptor::OnLink on_link;
    LinkAcceptor::OnRejected on_rejected;
    std::size_t handshakes = 0;
};

bool names_subprotocol(const websocket::request_type& request, const std::string& wanted) {
    const auto offered = request[http::field::sec_websocket_protocol];
    const http::token_list list(offered);
    return std::ranges::any_of(list, [&](const auto& each) { return each == wanted; });
}

template <class Next>
class Handshake : public std::enable_shared_from_this<Handshake<Next>> {
public:
    using Stream = websocket::stream<Next>;

    Handshake(const std::shared_ptr<Shared>& shared, std::unique_ptr<Stream> stream,
              std::string peer_address)
        : shared_(shared),
          context_(shared->context),
          stream_(std::move(stream)),
          peer_address_(std::move(peer_address)),
          limit_(shared->context) {
        ++shared->handshakes;
    }
    ~Handshake() {
        if (const auto shared = shared_.lock()) --shared->handshakes;
    }
    Handshake(const Handshake&) = delete;
    Handshake& operator=(const Handshake&) = delete;

    void run() {
        limit_.after(shared_.lock()->options.handshake_max, [weak = this->weak_from_this()] {
            if (auto self = weak.lock()) self->reject({ErrorCode::timed_out, "no link in time"});
        });
        if constexpr (std::is_same_v<Next, TlsStream>) {
            stream_->next_layer().async_handshake(
                ssl::stream_base::server,
                [self = this->shared_from_this()](const ErrorCodeOfAsio& error) {
                    if (error) return self->reject(link_error(error, "TLS handshake"));
                    auto name = peer_common_name(self->stream_->next_layer());
                    if (!name) return self->reject(name.error());
                    self->peer_name_ = std::move(*name);
                    self->read_upgrade();
                });
        } else {
            read_upgrade();
        }
    }

private:
    void read_upgrade() {
        parser_.header_limit(upgrade_size_max);
        parser_.body_limit(0);
        http::async_read(
            stream_->next_layer(), buffer_, parser_,
            [self = this->shared_from_this()](const ErrorCodeOfAsio& error, std::size_t) {
                if (error) return self->reject(link_error(error, "HTTP request"));
                self->accept_upgrade();
            });
    }

    void accept_upgrade() {
        const auto shared = shared_.lock();
        if (!shared || is_over_) return;
        const auto& request = parser_.get();
        if (!websocket::is_upgrade(request) || request.target() != shared->options.target ||
            !names_subprotocol(request, shared->options.subprotocol)) {
            return reject({ErrorCode::refused, "not a request for this protocol"});
        }
        const auto protocol = shared->options.subprotocol;
        stream_->set_option(
            websocket::stream_base::decorator([protocol](websocket::response_type& response) {
                response.set(http::field::sec_websocket_protocol, protocol);
            }));
        stream_->async_accept(request,
                              [self = this->shared_from_this()](const ErrorCodeOfAsio& error) {
                                  if (error)
                                      return self->reject(link_error(error, "WebSocket handshake"));
                                  self->succeed();
                              });
    }

    void succeed() {
        const auto shared = shared_.lock();
        if (!shared || is_over_) return;
        is_over_ = true;
        limit_.cancel();
        // A copy: the call may destroy the acceptor.
        const auto on_link = shared->on_link;
        on_link(std::make_shared<LinkOver<Next>>(context_, std::move(stream_), shared->options,
                                                 std::move(peer_name_), std::move(peer_address_)));
    }

    void reject(const Error& error) {
        if (is_over_) return;
        is_over_ = true;
        limit_.cancel();
        ErrorCodeOfAsio ignored;
        beast::get_lowest_layer(*stream_).close(ignored);
        const auto shared = shared_.lock();
        if (!shared) return;
        const auto on_rejected = shared->on_rejected;
        on_rejected(peer_address_, error);
    }

    std::weak_ptr<Shared> shared_;
    asio::io_context& context_;
    std::unique_ptr<Stream> stream_;
    std::string peer_name_;
    std::string peer_address_;
    Timer limit_;
    bool is_over_ = false;
    beast::flat_buffer buffer_{upgrade_size_max};
    http::request_parser<http::empty_body> parser_;
};

// Protocol is Unix or Tcp; its acceptor is open already.
template <class Protocol>
class AcceptorOver : public LinkAcceptor {
public:
    using Acceptor = typename Protocol::acceptor;
    using Socket = typename Protocol::socket;

    AcceptorOver(asio::io_context& context, Acceptor acceptor, LinkOptions options, OnLink on_link,
                 OnRejected on_rejected)
        : shared_(std::make_shared<Shared>(context, std::move(options), std::move(on_link),
                                           std::move(on_rejected))),
          loop_(std::make_shared<Loop>(std::move(acceptor), context)) {
        loop_->owner = this;
        loop_->accept();
    }
    ~AcceptorOver() override {
        loop_->owner = nullptr;
        ErrorCodeOfAsio ignored;
        loop_->acceptor.close(ignored);
    }

protected:
    virtual void begin(Socket socket) = 0;
    const std::shared_ptr<Shared>& shared() const { return shared_; }
    const Acceptor& acceptor() const { return loop_->acceptor; }

private:
    struct Loop : std::enable_shared_from_this<Loop> {
        Loop(Acceptor open, asio::io_context& context)
            : acceptor(std::move(open)), pause(context) {}

        void accept() {
            acceptor.async_accept(
                [self = this->shared_from_this()](const ErrorCodeOfAsio& error, Socket socket) {
                    if (self->owner == nullptr) return;
                    if (error) return self->accept_later();
                    if (self->owner->shared_->handshakes < handshakes_max) {
                        self->owner->begin(std::move(socket));
                    }
                    self->accept();
                });
        }
        // Out of descriptors, most likely: at once would spin.
        void accept_later() {
            pause.after(accept_pause, [weak = this->weak_from_this()] {
                if (auto self = weak.lock(); self && self->owner != nullptr) self->accept();
            });
        }

        Acceptor acceptor;
        Timer pause;
        AcceptorOver* owner = nullptr;
    };

    std::shared_ptr<Shared> shared_;
    std::shared_ptr<Loop> loop_;
};

class UnixAcceptor final : public AcceptorOver<Unix> {
public:
    UnixAcceptor(std::string path, asio::io_context& context, Unix::acceptor acceptor,
                 LinkOptions options, OnLink on_link, OnRejected on_rejected)
        : AcceptorOver(context, std::move(acceptor), std::move(options), std::move(on_link),
                       std::move(on_rejected)),
          path_(std::move(path)) {
        if (::stat(path_.c_str(), &status_) != 0) status_ = {};
    }
    ~UnixAcceptor() override {
        // Only if it is ours still: another process may have taken the place.
        struct stat present {};
        if (::stat(path_.c_str(), &present) == 0 && present.st_ino == status_.st_ino &&
            present.st_dev == status_.st_dev) {
            ::unlink(path_.c_str());
        }
    }
    std::uint16_t port() const override { return 0; }

private:
    void begin(Unix::socket socket) override {
        auto stream = std::make_unique<websocket::stream<Unix::socket>>(std::move(socket));
        std::make_shared<Handshake<Unix::socket>>(shared(), std::move(stream), "unix")->run();
    }

    std::string path_;
    struct stat status_ {};
};

class TlsAcceptor final : public AcceptorOver<Tcp> {
public:
    TlsAcceptor(ssl::context tls, asio::io_context& context, Tcp::acceptor acceptor,
                LinkOptions options, OnLink on_link, OnRejected on_rejected)
        : AcceptorOver(context, std::move(acceptor), std::move(options), std::move(on_link),
                       std::move(on_rejected)),
          tls_(std::move(tls)) {
        ErrorCodeOfAsio error;
        const auto local = this->acceptor().local_endpoint(error);
        if (!error) port_ = local.port();
    }
    std::uint16_t port() const override { return port_; }

private:
    void begin(Tcp::socket socket) override {
        ErrorCodeOfAsio error;
        const auto remote = socket.remote_endpoint(error);
        if (error) return;  // gone again
        socket.set_option(Tcp::no_delay(true), error);
        std::string address =
            "[" + remote.address().to_string(error) + "]:" + std::to_string(remote.port());
        auto stream = std::make_unique<websocket::stream<TlsStream>>(std::move(socket), tls_);
        std::make_shared<Handshake<TlsStream>>(shared(), std::move(stream), std::move(address))
            ->run();
    }

    ssl::context tls_;
    std::uint16_t port_ = 0;
};

Result<Tcp::acceptor> open_tcp_listener(asio::io_context& context, const IpEndpoint& address) {
    ErrorCodeOfAsio error;
    const auto ip = asio::ip::make_address(to_string(address.address), error);
    Tcp::acceptor acceptor(context);
    const Tcp::endpoint local(ip, address.port);
    if (!error) acceptor.open(local.protocol(), error);
    if (!error) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
    if (!error && ip.is_v6()) acceptor.set_option(asio::ip::v6_only(false), error);
    if (!error) acceptor.bind(local, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
        return tl::unexpected<Error>(
            error_from_errno(error.value(), "listen " + to_string(address)));
    }
    return acceptor;
}

}  // namespace

Result<std::unique_ptr<LinkAcceptor>> listen_unix(asio::io_context& context,
                                                  const std::string& path, LinkOptions options,
                                                  LinkAcceptor::OnLink on_link,
                                                  LinkAcceptor::OnRejected on_rejected) {
    auto acceptor = open_unix_listener(context, path);
    if (!acceptor) return tl::unexpected<Error>(acceptor.error());
    return std::make_unique<UnixAcceptor>(path, context, std::move(*acceptor), std::move(options),
                                          std::move(on_link), std::move(on_rejected));
}

Result<std::unique_ptr<LinkAcceptor>> listen_tls(asio::io_context& context,
                                                 const IpEndpoint& address, const TlsFiles& tls,
                                                 LinkOptions options, LinkAcceptor::OnLink on_link,
                                                 LinkAcceptor::OnRejected on_rejected) {
    auto loaded = make_tls_context(tls);
    if (!loaded) return tl::unexpected<Error>(loaded.error());
    auto acceptor = open_tcp_listener(context, address);
    if (!acceptor) return tl::unexpected<Error>(acceptor.error());
    return std::make_unique<TlsAcceptor>(std::move(*loaded), context, std::move(*acceptor),
                                         std::move(options), std::move(on_link),
                                         std::move(on_rejected));
}

}  // namespace dstm::io
