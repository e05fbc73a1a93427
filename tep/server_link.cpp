// Dial, hello, serve, dial again. At most one attempt, link or wait is under way at any time.
#include "tep/server_link.hpp"

#include <random>

#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::tep {
namespace {

constexpr Duration hello_wait = std::chrono::seconds(5);

template <class T>
Result<void> outcome_of(const Result<T>& result) {
    if (!result) return tl::unexpected<Error>(result.error());
    return {};
}

}  // namespace

ServerLink::ServerLink(Services& services, ServerAddress address)
    : services_(services),
      address_(std::move(address)),
      back_off_(std::random_device{}()),
      retry_(services.context) {}

void ServerLink::start() { dial(); }

void ServerLink::stop(std::function<void()> done) {
    is_stopping_ = true;
    retry_.cancel();
    if (!peer_) {
        asio::post(services_.context, std::move(done));
        return;
    }
    stopped_ = std::move(done);
    if (is_up()) peer_->notify(teplink::Down{});
    peer_->close("the endpoint stops");
}

void ServerLink::notify(const teplink::Notification& notification) {
    if (is_up()) peer_->notify(notification);
}

bool ServerLink::relay(const teplink::Datagram& datagram) {
    return is_up() && peer_->relay(datagram);
}

void ServerLink::dial() {
    auto done = [weak = weak_from_this()](Result<io::LinkPtr> link) {
        if (const auto self = weak.lock()) self->on_connected(std::move(link));
    };
    if (const auto* local = std::get_if<UnixServer>(&address_)) {
        io::connect_unix(services_.context, local->path, services_.options, std::move(done));
    } else {
        const auto& remote = std::get<TlsServer>(address_);
        io::connect_tls(services_.context, remote.host, remote.port, remote.tls, services_.options,
                        std::move(done));
    }
}

void ServerLink::dial_later() {
    if (is_stopping_) return;
    retry_.after(back_off_.next(), [this] { dial(); });
}

void ServerLink::on_connected(Result<io::LinkPtr> link) {
    if (is_stopping_) return;
    if (!link) {
        log_failure("TEP_LINK_FAILED", link.error());
        return dial_later();
    }
    peer_ = std::make_shared<io::PeerLink>(services_.context, services_.clock, std::move(*link));
    const auto weak = weak_from_this();
    peer_->start({
        .on_request = [weak](teplink::Request request) -> Result<teplink::Answer> {
            if (const auto self = weak.lock()) return self->serve(request);
            return fail(ErrorCode::unavailable, "the endpoint stops");
        },
        .on_notification =
            [weak](const teplink::Notification& notification) {
                if (const auto self = weak.lock()) self->on_notification(notification);
            },
        .on_gone =
            [weak](const Error& why) {
                if (const auto self = weak.lock()) self->on_gone(why);
            },
    });
    peer_->call(services_.hello(), hello_wait, [weak](const Result<teplink::Answer>& answer) {
        if (const auto self = weak.lock()) self->on_hello_answered(answer);
    });
}

void ServerLink::on_hello_answered(const Result<teplink::Answer>& answer) {
    if (!peer_ || is_stopping_) return;
    if (!answer) {
        log_failure("TEP_LINK_REFUSED", answer.error());
        return peer_->close("no welcome");
    }
    const auto& welcome = std::get<teplink::HelloAnswer>(*answer);
    if (welcome.protocol != teplink::protocol_version) {
        log_failure("TEP_LINK_REFUSED",
                    {ErrorCode::refused, "protocol " + std::to_string(welcome.protocol)});
        return peer_->close("another protocol");
    }
    server_ = welcome.server;
    up_since_ = services_.clock.now();
    last_failure_.clear();
    log_info("TEP_LINK_UP", "server={} address={}", server_, to_string(address_));
}

void ServerLink::on_notification(const teplink::Notification& notification) {
    const auto* datagram = std::get_if<teplink::Datagram>(&notification);
    if (is_up() && datagram != nullptr) services_.relay.send_back(services_.plane, *datagram);
}

void ServerLink::on_gone(const Error& why) {
    if (is_up()) {
        log_warning("TEP_LINK_DOWN", "server={} address={} why={} tunnels={}", server_,
                    to_string(address_), log::quoted(why.context), services_.table.size());
    }
    // Taken from us right away, by another endpoint of our name: then not dialled right away.
    if (is_up() && services_.clock.now() - up_since_ >= BackOff::last) back_off_.reset();
    peer_.reset();
    server_.clear();
    sync_ = {};
    if (const auto stopped = std::exchange(stopped_, nullptr)) stopped();
    dial_later();
}

void ServerLink::log_failure(std::string_view id, const Error& why) {
    auto text = to_string(why);
    if (text == last_failure_) return;
    log_warning(id, "address={} error={}", to_string(address_), log::quoted(text));
    last_failure_ = std::move(text);
}

Result<teplink::Answer> ServerLink::serve(const teplink::Request& request) {
    if (!is_up()) return fail(ErrorCode::refused, "hello was not answered yet");
    const auto now = services_.clock.wall();
    if (const auto* each = std::get_if<teplink::Install>(&request)) return install(*each);
    if (const auto* each = std::get_if<teplink::Remove>(&request)) return remove(*each);
    if (const auto* each = std::get_if<teplink::Sync>(&request)) {
        auto answer = services_.table.sync(sync_, *each, now);
        if (!answer) return tl::unexpected<Error>(answer.error());
        if (answer->totals) {
            log_info("TEP_SYNCED", "server={} installed={} unchanged={} removed={}", server_,
                     answer->totals->installed, answer->totals->unchanged, answer->totals->removed);
        }
        return *answer;
    }
    if (const auto* each = std::get_if<teplink::List>(&request)) {
        return services_.table.list(*each);
    }
    if (std::holds_alternative<teplink::Counters>(request)) {
        return teplink::CountersAnswer{services_.plane.drops()};
    }
    return fail(ErrorCode::refused, "a server does not say hello");
}

Result<teplink::Answer> ServerLink::install(const teplink::Install& request) {
    teplink::BatchAnswer answer;
    for (const auto& spec : request.tunnels) {
        auto installed = services_.table.install(spec, services_.clock.wall());
        if (!installed) {
            log_warning("TEP_INSTALL_REFUSED", "server={} inner={} generation={} error={}", server_,
                        to_string(spec.inner), spec.generation, to_string(installed.error()));
        }
        answer.results.push_back(outcome_of(installed));
    }
    return answer;
}

Result<teplink::Answer> ServerLink::remove(const teplink::Remove& request) {
    teplink::BatchAnswer answer;
    for (const auto& removal : request.tunnels) {
        answer.results.push_back(outcome_of(services_.table.remove(removal.inner, removal.up_to)));
    }
    return answer;
}

}  // namespace dstm::tep
