// Cyrus SASL's server side: one sasl_conn_t for each conversation, used by one worker at a time.
#include "dstm-server/auth/sasl_authenticator.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include <sasl/sasl.h>

#include "common/base/utf8.hpp"
#include "common/io/asio.hpp"
#include "common/log/log.hpp"
#include "dstm-server/auth/sasl_library.hpp"

namespace dstm::server {

struct SaslAuthenticator::Shared {
    SaslConfig config;
    std::string mechanism_list;  // as the library wants it: separated by spaces
    asio::thread_pool& workers;
    asio::io_context& events;
};

namespace {

using Outcome = AuthenticationStep::Outcome;
using Shared = SaslAuthenticator::Shared;
using Callback = int (*)();

constexpr const char* service_name = "tsp";
constexpr std::string_view plain = "PLAIN";
constexpr std::string_view external = "EXTERNAL";

bool needs_sasldb(const std::string& mechanism) {
    return mechanism != "ANONYMOUS" && mechanism != external && mechanism != "GSSAPI";
}

// SASL_CB_GETOPT of a conversation.
int get_option(void* context, const char*, const char* option, const char** result,
               unsigned* length) {
    const auto& shared = *static_cast<const Shared*>(context);
    const std::string_view name = option;
    if (name == "mech_list") *result = shared.mechanism_list.c_str();
    else if (name == "sasldb_path") *result = shared.config.sasldb.c_str();
    else if (name == "auxprop_plugin") *result = "sasldb";
    else if (name == "pwcheck_method") *result = "auxprop";
    else return SASL_FAIL;
    if (length != nullptr) *length = static_cast<unsigned>(std::strlen(*result));
    return SASL_OK;
}

// One exchange with the library. Only one thread is in it at a time, but not always the same.
class Exchange {
public:
    Exchange(std::shared_ptr<const Shared> shared, std::string mechanism,
             AuthenticationChannel channel)
        : shared_(std::move(shared)),
          mechanism_(std::move(mechanism)),
          channel_(std::move(channel)) {
        auto* const get_option_callback =
            reinterpret_cast<Callback>(reinterpret_cast<void*>(&get_option));
        auto* const log_callback =
            reinterpret_cast<Callback>(reinterpret_cast<void*>(&sasl::log_message));
        callbacks_ = {{{SASL_CB_GETOPT, get_option_callback, const_cast<Shared*>(shared_.get())},
                       {SASL_CB_LOG, log_callback, nullptr},
                       {SASL_CB_LIST_END, nullptr, nullptr}}};
    }
    ~Exchange() { sasl_dispose(&connection_); }
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    AuthenticationStep start(const std::optional<Secret>& initial) {
        if (const int status = open(); status != SASL_OK) return end(status, nullptr, 0);
        // ANONYMOUS succeeds without a word from the client (RFC 5572 s4.4.2, Figure 8).
        const bool has_data = initial.has_value() || mechanism_ == "ANONYMOUS";
        const std::string_view data = initial ? initial->reveal() : std::string_view();
        const char* output = nullptr;
        unsigned size = 0;
        const int status = sasl_server_start(connection_, mechanism_.c_str(),
                                             has_data ? text_of(data) : nullptr,
                                             static_cast<unsigned>(data.size()), &output, &size);
        return end(status, output, size);
    }

    AuthenticationStep step(const Secret& response) {
        const char* output = nullptr;
        unsigned size = 0;
        const std::string_view data = response.reveal();
        const int status = sasl_server_step(connection_, text_of(data),
                                            static_cast<unsigned>(data.size()), &output, &size);
        return end(status, output, size);
    }

    // What the library offers with these options, "" when it cannot say.
    std::string offered() {
        const char* list = nullptr;
        if (open() != SASL_OK ||
            sasl_listmech(connection_, nullptr, " ", " ", " ", &list, nullptr, nullptr) !=
                SASL_OK) {
            return "";
        }
        return list;
    }

private:
    // An empty view may point nowhere, and to the library that would mean "no data at all".
    static const char* text_of(std::string_view data) { return data.empty() ? "" : data.data(); }

    int open() {
        // Without a name the library asks DNS for this host's, at every login.
        const SaslConfig& config = shared_->config;
        const char* const host = !config.hostname.empty() ? config.hostname.c_str()
                                 : !config.realm.empty()  ? config.realm.c_str()
                                                          : "localhost";
        int status = sasl_server_new(service_name, host, config.realm.c_str(), nullptr, nullptr,
                                     callbacks_.data(), SASL_SUCCESS_DATA, &connection_);
        if (status != SASL_OK) return status;
        if (!channel_.certified_name.empty()) {
            status = sasl_setprop(connection_, SASL_AUTH_EXTERNAL, channel_.certified_name.c_str());
            if (status != SASL_OK) return status;
        }
        // No security layer: TSP has no place for one.
        sasl_security_properties_t properties{};
        properties.max_ssf = 0;
        return sasl_setprop(connection_, SASL_SEC_PROPS, &properties);
    }

    AuthenticationStep end(int status, const char* output, unsigned size) {
        AuthenticationStep step;
        if (output != nullptr) step.data.assign(output, size);
        if (status == SASL_CONTINUE) {
            step.outcome = Outcome::challenge;
            return step;
        }
        if (status == SASL_OK) {
            step.outcome = Outcome::success;
            if (mechanism_ == "ANONYMOUS") return step;
            step.user = user();
            // Kea keeps the name as JSON: what is no UTF-8 would come back as another name.
            if (!step.user.empty() && is_utf8(step.user)) return step;
        }
        step.data.clear();
        const bool is_ours = status == SASL_UNAVAIL || status == SASL_TRYAGAIN ||
                             status == SASL_NOMEM || status == SASL_NOMECH;
        step.outcome = is_ours ? Outcome::unavailable : Outcome::failure;
        log_warning("AUTH_FAILED", "peer={} mechanism={} why={}", to_string(channel_.peer),
                    mechanism_, log::quoted(sasl_errstring(status, nullptr, nullptr)));
        return step;
    }

    // The library adds "@realm" to a bare name; ours is the bare one.
    std::string user() const {
        const void* value = nullptr;
        if (sasl_getprop(connection_, SASL_USERNAME, &value) != SASL_OK || value == nullptr) {
            return "";
        }
        std::string name = static_cast<const char*>(value);
        const std::string suffix = "@" + shared_->config.realm;
        if (name.size() > suffix.size() && name.ends_with(suffix)) {
            name.resize(name.size() - suffix.size());
        }
        return name;
    }

    const std::shared_ptr<const Shared> shared_;
    const std::string mechanism_;
    const AuthenticationChannel channel_;
    std::array<sasl_callback_t, 3> callbacks_{};
    sasl_conn_t* connection_ = nullptr;
};

// The half of a conversation that the event thread holds.
class SaslConversation final : public Conversation {
public:
    SaslConversation(std::shared_ptr<const Shared> shared, std::shared_ptr<Exchange> exchange)
        : shared_(std::move(shared)), exchange_(std::move(exchange)) {}
    ~SaslConversation() override { *alive_ = false; }

    void start(std::optional<Secret> initial, Done done) {
        run(std::move(done), [initial = std::move(initial)](Exchange& exchange) {
            return exchange.start(initial);
        });
    }
    void step(Secret response, Done done) override {
        run(std::move(done), [response = std::move(response)](Exchange& exchange) {
            return exchange.step(response);
        });
    }

private:
    template <class Work>
    void run(Done done, Work work) {
        asio::post(shared_->workers, [shared = shared_, exchange = exchange_, alive = alive_,
                                      done = std::move(done), work = std::move(work)]() mutable {
            AuthenticationStep outcome = work(*exchange);
            asio::post(shared->events, [alive = std::move(alive), done = std::move(done),
                                        outcome = std::move(outcome)]() mutable {
                if (*alive) done(std::move(outcome));
            });
        });
    }

    const std::shared_ptr<const Shared> shared_;
    const std::shared_ptr<Exchange> exchange_;
    // Read and written by the event thread only.
    const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

std::vector<std::string> usable_mechanisms(const std::shared_ptr<const Shared>& shared) {
    // With a name for EXTERNAL, so that the library lists it.
    Exchange probe(shared, "", {{}, true, "probe"});
    const std::string offered = " " + probe.offered() + " ";
    std::vector<std::string> usable;
    for (const std::string& mechanism : shared->config.mechanisms) {
        if (offered.find(" " + mechanism + " ") == std::string::npos) {
            log_warning("AUTH_MECHANISM_MISSING", "mechanism={} (no plug-in: install "
                        "libsasl2-modules, libsasl2-modules-db, libsasl2-modules-gssapi-mit)",
                        mechanism);
            continue;
        }
        if (mechanism == plain && !shared->config.plain_without_tls) {
            log_info("AUTH_PLAIN_NOT_OFFERED", "but on TLS: sasl.plain-without-tls is false");
        }
        usable.push_back(mechanism);
    }
    return usable;
}

}  // namespace

SaslAuthenticator::SaslAuthenticator(std::shared_ptr<const Shared> shared)
    : shared_(std::move(shared)), mechanisms_(usable_mechanisms(shared_)) {}

SaslAuthenticator::~SaslAuthenticator() = default;

Result<std::unique_ptr<SaslAuthenticator>> SaslAuthenticator::create(SaslConfig config,
                                                                     asio::thread_pool& workers,
                                                                     asio::io_context& events) {
    if (auto initialized = sasl::initialize(); !initialized) {
        return tl::unexpected(initialized.error());
    }
    // MIT Kerberos has no other way for all of its versions.
    if (!config.keytab.empty()) ::setenv("KRB5_KTNAME", config.keytab.c_str(), 1);
    const bool needs_passwords =
        std::any_of(config.mechanisms.begin(), config.mechanisms.end(), needs_sasldb);
    if (needs_passwords && ::access(config.sasldb.c_str(), R_OK) != 0) {
        log_warning("AUTH_SASLDB_UNREADABLE", "sasldb={} why={} (no user can log in; saslpasswd2 "
                    "makes it)", config.sasldb, std::strerror(errno));
    }
    std::string list(external);
    for (const std::string& mechanism : config.mechanisms) list += " " + mechanism;
    auto shared = std::make_shared<const Shared>(
        Shared{std::move(config), std::move(list), workers, events});
    return std::unique_ptr<SaslAuthenticator>(new SaslAuthenticator(std::move(shared)));
}

// EXTERNAL comes first where it is not listed: the client has shown who it is already.
std::vector<std::string> SaslAuthenticator::mechanisms(const AuthenticationChannel& channel) const {
    std::vector<std::string> offered;
    const bool is_certified = !channel.certified_name.empty();
    if (is_certified && std::ranges::find(mechanisms_, external) == mechanisms_.end()) {
        offered.emplace_back(external);
    }
    for (const std::string& mechanism : mechanisms_) {
        if (mechanism == external && !is_certified) continue;
        if (mechanism == plain && !channel.is_encrypted && !shared_->config.plain_without_tls) {
            continue;
        }
        offered.push_back(mechanism);
    }
    return offered;
}

std::unique_ptr<Conversation> SaslAuthenticator::start(const std::string& mechanism,
                                                       std::optional<Secret> initial_response,
                                                       const AuthenticationChannel& channel,
                                                       Conversation::Done done) {
    auto exchange = std::make_shared<Exchange>(shared_, mechanism, channel);
    auto conversation = std::make_unique<SaslConversation>(shared_, std::move(exchange));
    conversation->start(std::move(initial_response), std::move(done));
    return conversation;
}

}  // namespace dstm::server
