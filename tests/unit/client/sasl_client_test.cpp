// The adapter against Cyrus SASL's own server library in this process, with users in a sasldb made
// for the test.
#include "client/auth/sasl_client.hpp"

#include <array>
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>
#include <sasl/sasl.h>
#include <unistd.h>

#include "client/auth/password.hpp"

namespace dstm::client {
namespace {

constexpr const char* realm = "campus.example";

std::string& sasldb_path() {
    static std::string path;
    return path;
}

int give_option(void*, const char*, const char* option, const char** result, unsigned* length) {
    const std::string_view name = option;
    if (name == "sasldb_path") *result = sasldb_path().c_str();
    else if (name == "auxprop_plugin") *result = "sasldb";
    else if (name == "mech_list") *result = "ANONYMOUS PLAIN DIGEST-MD5 SCRAM-SHA-256";
    else return SASL_FAIL;
    if (length != nullptr) *length = static_cast<unsigned>(std::string_view(*result).size());
    return SASL_OK;
}

int swallow(void*, int, const char*) { return SASL_OK; }

template <class Function>
int (*any(Function* function))() {
    return reinterpret_cast<int (*)()>(reinterpret_cast<void (*)()>(function));
}

class SaslClientTest : public testing::Test {
protected:
    static void SetUpTestSuite() {
        if (access("/usr/sbin/saslpasswd2", X_OK) != 0) return;
        std::array<char, 64> name{"/tmp/dstm-client-sasl-XXXXXX"};
        directory_ = mkdtemp(name.data());
        sasldb_path() = directory_ + "/sasldb2";
        const auto command = "printf %s secret | /usr/sbin/saslpasswd2 -p -c -f " + sasldb_path() +
                             " -u " + realm + " alice";
        if (std::system(command.c_str()) != 0) return;
        static const std::array<sasl_callback_t, 3> callbacks{
            sasl_callback_t{SASL_CB_GETOPT, any(&give_option), nullptr},
            sasl_callback_t{SASL_CB_LOG, any(&swallow), nullptr},
            sasl_callback_t{SASL_CB_LIST_END, nullptr, nullptr}};
        ready_ = sasl_server_init(callbacks.data(), "dstm-test") == SASL_OK;
    }
    static void TearDownTestSuite() {
        if (!directory_.empty()) std::filesystem::remove_all(directory_);
    }
    void SetUp() override {
        if (access("/usr/sbin/saslpasswd2", X_OK) != 0) {
            GTEST_SKIP() << "saslpasswd2 (Debian package sasl2-bin) is not installed";
        }
        ASSERT_TRUE(ready_);
        ASSERT_EQ(sasl_server_new("tsp", realm, realm, nullptr, nullptr, nullptr, SASL_SUCCESS_DATA,
                                  &server_),
                  SASL_OK);
        sasl_security_properties_t properties{};
        ASSERT_EQ(sasl_setprop(server_, SASL_SEC_PROPS, &properties), SASL_OK);
    }
    void TearDown() override { sasl_dispose(&server_); }

    // The whole exchange; what the server says, and what the client made of it.
    struct Outcome {
        int server = SASL_FAIL;
        bool client_complete = false;
        Error error;
        std::string user;
        std::string text;  // everything the client sent
    };
    Outcome exchange(const Identity& identity, const std::vector<std::string>& accepted,
                     const std::vector<std::string>& offered, bool forge_last = false) {
        Outcome outcome;
        auto client = SaslClient::create(identity, "dstm.campus.example");
        if (!client) {
            outcome.error = client.error();
            return outcome;
        }
        const auto start = client->start(accepted, offered);
        if (!start) {
            outcome.error = start.error();
            return outcome;
        }
        const char* out = nullptr;
        unsigned size = 0;
        const auto& first = start->initial_response;
        outcome.text = first.value_or("");
        outcome.server =
            sasl_server_start(server_, start->mechanism.c_str(), first ? first->data() : nullptr,
                              first ? static_cast<unsigned>(first->size()) : 0, &out, &size);
        for (int bound = 0; bound < 10; ++bound) {
            if (outcome.server != SASL_CONTINUE && !(outcome.server == SASL_OK && size > 0)) break;
            std::string challenge(out == nullptr ? "" : out, size);
            if (forge_last && outcome.server == SASL_OK) challenge.back() ^= 1;
            const auto response = client->step(challenge);
            if (!response) {
                outcome.error = response.error();
                break;
            }
            if (outcome.server == SASL_OK) break;
            outcome.text += *response;
            size = 0;
            outcome.server =
                sasl_server_step(server_, response->data(),
                                 static_cast<unsigned>(response->size()), &out, &size);
        }
        outcome.client_complete = client->is_complete();
        const void* name = nullptr;
        if (sasl_getprop(server_, SASL_USERNAME, &name) == SASL_OK && name != nullptr) {
            outcome.user = static_cast<const char*>(name);
        }
        return outcome;
    }

    static Identity alice(const char* password = "secret") {
        return {std::string("alice@") + realm, Secret(password)};
    }

    sasl_conn_t* server_ = nullptr;
    inline static std::string directory_;
    inline static bool ready_ = false;
};

TEST_F(SaslClientTest, EachMechanismAuthenticatesAndProvesTheServer) {
    for (const auto* mechanism : {"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"}) {
        const auto outcome = exchange(alice(), {mechanism}, {mechanism});
        EXPECT_EQ(outcome.server, SASL_OK) << mechanism << ": " << outcome.error.context;
        EXPECT_TRUE(outcome.client_complete) << mechanism << ": " << outcome.error.context;
        EXPECT_EQ(outcome.user.substr(0, 5), "alice") << mechanism;
        TearDown();
        SetUp();
    }
}

TEST_F(SaslClientTest, ServerThatDoesNotKnowThePasswordIsNotBelieved) {
    for (const auto* mechanism : {"SCRAM-SHA-256", "DIGEST-MD5"}) {
        const auto outcome = exchange(alice(), {mechanism}, {mechanism}, true);
        EXPECT_FALSE(outcome.client_complete) << mechanism;
        EXPECT_FALSE(outcome.error.context.empty()) << mechanism;
        TearDown();
        SetUp();
    }
}

TEST_F(SaslClientTest, WrongPasswordFailsAtTheServerAndIsNowhereInTheText) {
    for (const auto* mechanism : {"SCRAM-SHA-256", "DIGEST-MD5"}) {
        const auto outcome = exchange(alice("hunter2"), {mechanism}, {mechanism});
        EXPECT_NE(outcome.server, SASL_OK) << mechanism;
        EXPECT_FALSE(outcome.client_complete) << mechanism;
        EXPECT_EQ(outcome.error.context.find("hunter2"), std::string::npos);
        EXPECT_EQ(outcome.text.find("hunter2"), std::string::npos) << mechanism;
        TearDown();
        SetUp();
    }
}

// RFC 4422 Appendix A: no word but who to act as, and that is nobody else.
TEST_F(SaslClientTest, ExternalSaysNothingOfItsOwn) {
    for (const auto& identity : {Identity{}, alice()}) {
        auto client = SaslClient::create(identity, "dstm.campus.example");
        ASSERT_TRUE(client);
        const auto start = client->start({"EXTERNAL"}, {"EXTERNAL", "ANONYMOUS"});
        ASSERT_TRUE(start) << start.error().context;
        EXPECT_EQ(start->initial_response, "");
        EXPECT_TRUE(client->is_complete());
    }
}

TEST_F(SaslClientTest, AnonymousNeedsNoUser) {
    const auto outcome = exchange({}, {"ANONYMOUS"}, {"PLAIN", "ANONYMOUS"});
    EXPECT_EQ(outcome.server, SASL_OK) << outcome.error.context;
    EXPECT_TRUE(outcome.client_complete);
}

TEST_F(SaslClientTest, TheFirstConfiguredMechanismThatIsOfferedIsTaken) {
    auto client = SaslClient::create(alice(), "dstm.campus.example");
    ASSERT_TRUE(client);
    const auto start = client->start({"SCRAM-SHA-256", "DIGEST-MD5"},
                                     {"ANONYMOUS", "PLAIN", "DIGEST-MD5", "SCRAM-SHA-256"});
    ASSERT_TRUE(start) << start.error().context;
    EXPECT_EQ(start->mechanism, "SCRAM-SHA-256");
}

TEST_F(SaslClientTest, PlainIsNotUsedUnlessConfigured) {
    auto client = SaslClient::create(alice(), "dstm.campus.example");
    ASSERT_TRUE(client);
    const auto start = client->start({"SCRAM-SHA-256", "DIGEST-MD5"}, {"PLAIN"});
    ASSERT_FALSE(start);
    EXPECT_EQ(start.error().code, ErrorCode::refused);
    EXPECT_NE(start.error().context.find("offers PLAIN"), std::string::npos);
}

TEST_F(SaslClientTest, HugeOrSenselessChallengesAreRefused) {
    for (const auto& challenge : {std::string(100000, 'a'), std::string("\0\xff=,", 4)}) {
        auto client = SaslClient::create(alice(), "dstm.campus.example");
        ASSERT_TRUE(client->start({"SCRAM-SHA-256"}, {"SCRAM-SHA-256"}));
        EXPECT_FALSE(client->step(challenge));
        EXPECT_FALSE(client->is_complete());
    }
}

}  // namespace
}  // namespace dstm::client
