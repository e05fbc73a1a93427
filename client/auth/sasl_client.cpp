// Cyrus SASL's C interface turned into values; its codes and callbacks stop here.
#include "client/auth/sasl_client.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include <sasl/sasl.h>

#include "common/sasl/process.hpp"

namespace dstm::client {
namespace {

constexpr std::size_t message_size_max = 8192;

// Cyrus wants the password as a C structure that outlives the exchange.
struct SecretDeleter {
    void operator()(sasl_secret_t* secret) const {
        volatile unsigned char* bytes = secret->data;
        for (unsigned long i = 0; i < secret->len; ++i) bytes[i] = 0;
        std::free(secret);
    }
};
using SaslSecret = std::unique_ptr<sasl_secret_t, SecretDeleter>;

SaslSecret to_sasl(const Secret& password) {
    const auto text = password.reveal();
    auto* raw =
        static_cast<sasl_secret_t*>(std::calloc(1, sizeof(sasl_secret_t) + text.size() + 1));
    if (raw == nullptr) std::abort();
    raw->len = text.size();
    std::memcpy(raw->data, text.data(), text.size());
    return SaslSecret(raw);
}

// The library's own messages may quote what passes through it; failures come back as codes.
int swallow_log(void*, int, const char*) { return SASL_OK; }

Error error_from_sasl(sasl_conn_t* connection, int code, const std::string& doing) {
    const char* detail = connection != nullptr ? sasl_errdetail(connection)
                                               : sasl_errstring(code, nullptr, nullptr);
    auto category = ErrorCode::refused;
    if (code == SASL_NOMEM) category = ErrorCode::exhausted;
    return {category, doing + ": " + (detail != nullptr ? detail : "unknown")};
}

Result<void> initialise_library() {
    static const std::array<sasl_callback_t, 2> callbacks{
        sasl_callback_t{SASL_CB_LOG, sasl::as_callback(&swallow_log), nullptr},
        sasl_callback_t{SASL_CB_LIST_END, nullptr, nullptr}};
    static const int code = [] {
        // An exchange that hangs may stand beside another (a Kerberos server that is away).
        sasl::give_locks();
        return sasl_client_init(callbacks.data());
    }();
    if (code == SASL_OK) return {};
    return tl::unexpected(error_from_sasl(nullptr, code, "start Cyrus SASL"));
}

}  // namespace

struct SaslClient::State {
    std::string user;
    SaslSecret password;
    std::array<sasl_callback_t, 6> callbacks{};
    sasl_conn_t* connection = nullptr;
    bool complete = false;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { sasl_dispose(&connection); }

    // SASL_CB_USER, whom to act as: nobody else. SASL_CB_AUTHNAME, who we are.
    static int give_name(void* context, int id, const char** result, unsigned* length) {
        const auto* state = static_cast<const State*>(context);
        static constexpr const char* nobody = "";
        *result = id == SASL_CB_USER && !state->user.empty() ? nobody : state->user.c_str();
        if (length != nullptr) *length = static_cast<unsigned>(std::strlen(*result));
        return SASL_OK;
    }
    static int give_password(sasl_conn_t*, void* context, int, sasl_secret_t** secret) {
        *secret = static_cast<State*>(context)->password.get();
        return SASL_OK;
    }
    static int choose_realm(void*, int, const char** available, const char** result) {
        *result = available != nullptr && *available != nullptr ? *available : "";
        return SASL_OK;
    }
};

SaslClient::SaslClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
SaslClient::SaslClient(SaslClient&&) noexcept = default;
SaslClient& SaslClient::operator=(SaslClient&&) noexcept = default;
SaslClient::~SaslClient() = default;

Result<SaslClient> SaslClient::create(const Identity& identity, const std::string& server_name) {
    if (const auto ready = initialise_library(); !ready) return tl::unexpected(ready.error());
    auto state = std::make_unique<State>();
    state->user = identity.user;
    state->password = to_sasl(identity.password);
    auto* context = state.get();
    state->callbacks = {
        sasl_callback_t{SASL_CB_USER, sasl::as_callback(&State::give_name), context},
        sasl_callback_t{SASL_CB_AUTHNAME, sasl::as_callback(&State::give_name), context},
        sasl_callback_t{SASL_CB_PASS, sasl::as_callback(&State::give_password), context},
        sasl_callback_t{SASL_CB_GETREALM, sasl::as_callback(&State::choose_realm), context},
        sasl_callback_t{SASL_CB_LOG, sasl::as_callback(&swallow_log), nullptr},
        sasl_callback_t{SASL_CB_LIST_END, nullptr, nullptr}};
    int code = sasl_client_new("tsp", server_name.c_str(), nullptr, nullptr,
                               state->callbacks.data(), SASL_SUCCESS_DATA, &state->connection);
    if (code != SASL_OK) return tl::unexpected(error_from_sasl(nullptr, code, "SASL"));
    // The TLS below has shown the certificate; whose it is, the server reads there (EXTERNAL).
    code = sasl_setprop(state->connection, SASL_AUTH_EXTERNAL, "certificate");
    if (code != SASL_OK) return tl::unexpected(error_from_sasl(state->connection, code, "SASL"));
    // No security layer: TSP has no place for one. Which mechanisms are good enough is the
    // configuration's choice.
    sasl_security_properties_t properties{};
    code = sasl_setprop(state->connection, SASL_SEC_PROPS, &properties);
    if (code != SASL_OK) return tl::unexpected(error_from_sasl(state->connection, code, "SASL"));
    return SaslClient(std::move(state));
}

Result<SaslClient::Start> SaslClient::start(const std::vector<std::string>& accepted,
                                            const std::vector<std::string>& offered) {
    std::string trouble;
    for (const auto& mechanism : accepted) {
        if (std::find(offered.begin(), offered.end(), mechanism) == offered.end()) continue;
        const char* out = nullptr;
        const char* chosen = nullptr;
        unsigned size = 0;
        const int code = sasl_client_start(state_->connection, mechanism.c_str(), nullptr, &out,
                                           &size, &chosen);
        if (code == SASL_OK || code == SASL_CONTINUE) {
            state_->complete = code == SASL_OK;
            Start start{mechanism, std::nullopt};
            if (out != nullptr) start.initial_response.emplace(out, size);
            return start;
        }
        trouble = error_from_sasl(state_->connection, code, mechanism).context;
    }
    if (!trouble.empty()) return fail(ErrorCode::refused, trouble);
    const auto join = [](const std::vector<std::string>& names) {
        std::string text;
        for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
        return text.empty() ? std::string("none") : text;
    };
    return fail(ErrorCode::refused, "the server offers no mechanism that \"mechanisms\" allows (it "
                                    "offers " +
                                        join(offered) + "; allowed: " + join(accepted) + ")");
}

Result<std::string> SaslClient::step(const std::string& challenge) {
    if (challenge.size() > message_size_max) {
        return fail(ErrorCode::invalid, "the server's challenge is too large");
    }
    const char* out = nullptr;
    unsigned size = 0;
    const int code =
        sasl_client_step(state_->connection, challenge.data(),
                         static_cast<unsigned>(challenge.size()), nullptr, &out, &size);
    if (code != SASL_OK && code != SASL_CONTINUE) {
        state_->complete = false;
        return tl::unexpected(
            error_from_sasl(state_->connection, code, "the server's part of the authentication"));
    }
    state_->complete = code == SASL_OK;
    return out != nullptr ? std::string(out, size) : std::string();
}

bool SaslClient::is_complete() const { return state_->complete; }

}  // namespace dstm::client
