// Cyrus SASL's own client as the other side of an exchange, and saslpasswd2 to make users.
#pragma once

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sasl/sasl.h>

namespace dstm::test {

inline constexpr const char* saslpasswd_path = "/usr/sbin/saslpasswd2";

// False when saslpasswd2 failed.
inline bool add_sasl_user(const std::string& sasldb, const std::string& realm,
                          const std::string& user, const std::string& password) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return false;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    std::vector<std::string> words = {saslpasswd_path, "-p", "-c", "-f", sasldb, "-u", realm, user};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t child = 0;
    const bool spawned =
        ::posix_spawn(&child, saslpasswd_path, &actions, nullptr, argv.data(), environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[0]);
    const auto written = ::write(ends[1], password.data(), password.size());
    ::close(ends[1]);
    int status = -1;
    if (!spawned || ::waitpid(child, &status, 0) != child) return false;
    return status == 0 && written == static_cast<ssize_t>(password.size());
}

// One client of one exchange. `host` becomes the host part of DIGEST-MD5's digest-uri.
class SaslClient {
public:
    SaslClient(std::string user, std::string realm, const std::string& password,
               const std::string& host = "localhost")
        : user_(std::move(user)), realm_(std::move(realm)) {
        static const int initialized = sasl_client_init(nullptr);
        (void)initialized;
        secret_.resize(sizeof(sasl_secret_t) + password.size() + 1);
        auto* secret = reinterpret_cast<sasl_secret_t*>(secret_.data());
        secret->len = password.size();
        std::memcpy(secret->data, password.data(), password.size());
        callbacks_ = {{{SASL_CB_USER, as_callback(&get_user), this},
                       {SASL_CB_AUTHNAME, as_callback(&get_user), this},
                       {SASL_CB_PASS, as_callback(&get_password), this},
                       {SASL_CB_GETREALM, as_callback(&get_realm), this},
                       {SASL_CB_LIST_END, nullptr, nullptr}}};
        sasl_client_new("tsp", host.c_str(), nullptr, nullptr, callbacks_.data(),
                        SASL_SUCCESS_DATA, &connection_);
        sasl_security_properties_t properties{};
        sasl_setprop(connection_, SASL_SEC_PROPS, &properties);
    }
    ~SaslClient() { sasl_dispose(&connection_); }
    SaslClient(const SaslClient&) = delete;
    SaslClient& operator=(const SaslClient&) = delete;

    // The initial response, if the mechanism has one.
    std::optional<std::string> start(const std::string& mechanism) {
        const char* output = nullptr;
        unsigned size = 0;
        const char* chosen = nullptr;
        status_ = sasl_client_start(connection_, mechanism.c_str(), nullptr, &output, &size,
                                    &chosen);
        if (output == nullptr) return std::nullopt;
        return std::string(output, size);
    }
    std::string step(const std::string& challenge) {
        const char* output = nullptr;
        unsigned size = 0;
        status_ = sasl_client_step(connection_, challenge.data(),
                                   static_cast<unsigned>(challenge.size()), nullptr, &output,
                                   &size);
        return output == nullptr ? std::string() : std::string(output, size);
    }
    // The client's own verdict: it has verified the server.
    [[nodiscard]] bool is_satisfied() const { return status_ == SASL_OK; }

private:
    using Callback = int (*)();
    template <class Function>
    static Callback as_callback(Function* function) {
        return reinterpret_cast<Callback>(reinterpret_cast<void*>(function));
    }
    static int get_user(void* context, int, const char** result, unsigned* size) {
        const auto& user = static_cast<SaslClient*>(context)->user_;
        *result = user.c_str();
        if (size != nullptr) *size = static_cast<unsigned>(user.size());
        return SASL_OK;
    }
    static int get_password(sasl_conn_t*, void* context, int, sasl_secret_t** secret) {
        *secret =
            reinterpret_cast<sasl_secret_t*>(static_cast<SaslClient*>(context)->secret_.data());
        return SASL_OK;
    }
    static int get_realm(void* context, int, const char**, const char** result) {
        *result = static_cast<SaslClient*>(context)->realm_.c_str();
        return SASL_OK;
    }

    std::string user_;
    std::string realm_;
    std::vector<char> secret_;
    std::array<sasl_callback_t, 5> callbacks_{};
    sasl_conn_t* connection_ = nullptr;
    int status_ = SASL_FAIL;
};

}  // namespace dstm::test
