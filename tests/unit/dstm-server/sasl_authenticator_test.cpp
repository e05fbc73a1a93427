// The authenticator against Cyrus's own client and a real sasldb2 file.
#include "dstm-server/auth/sasl_authenticator.hpp"

#include <gtest/gtest.h>

#include <future>

#include "event_loop.hpp"
#include "sasl_peer.hpp"
#include "temporary_directory.hpp"

namespace dstm::server {
namespace {

using Outcome = AuthenticationStep::Outcome;
using test::SaslClient;

constexpr const char* realm = "campus.example";
constexpr const char* password = "wonder\"land\\ 7";
const std::vector<std::string> all = {"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS"};

class SaslAuthenticatorTest : public testing::Test {
protected:
    void SetUp() override {
        if (::access(test::saslpasswd_path, X_OK) != 0) {
            GTEST_SKIP() << test::saslpasswd_path << " is not installed";
        }
        ASSERT_TRUE(test::add_sasl_user(sasldb(), realm, "alice", password));
        ASSERT_TRUE(test::add_sasl_user(sasldb(), "elsewhere.example", "bob", password));
        authenticator_ = make(all, sasldb(), true);
    }
    void TearDown() override {
        workers_.join();
        test::run_ready(events_);
    }

    std::string sasldb() const { return directory_.file("sasldb2"); }

    std::unique_ptr<SaslAuthenticator> make(std::vector<std::string> mechanisms, std::string db,
                                            bool plain) {
        auto made = SaslAuthenticator::create({std::move(mechanisms), realm, std::move(db), plain},
                                              workers_, events_);
        EXPECT_TRUE(made.has_value());
        return std::move(*made);
    }

    // One call and its outcome.
    AuthenticationStep begin(const std::string& mechanism, std::optional<std::string> initial) {
        std::optional<AuthenticationStep> outcome;
        std::optional<Secret> secret;
        if (initial) secret.emplace(*initial);
        conversation_ = authenticator_->start(mechanism, std::move(secret), channel_,
                                              [&](AuthenticationStep step) { outcome = step; });
        EXPECT_TRUE(test::run_until(events_, [&] { return outcome.has_value(); }));
        return outcome.value_or(AuthenticationStep{});
    }
    AuthenticationStep step(const std::string& response) {
        std::optional<AuthenticationStep> outcome;
        conversation_->step(Secret(response), [&](AuthenticationStep step) { outcome = step; });
        EXPECT_TRUE(test::run_until(events_, [&] { return outcome.has_value(); }));
        return outcome.value_or(AuthenticationStep{});
    }

    // A whole exchange; the server's last word.
    AuthenticationStep exchange(const std::string& mechanism, SaslClient& client,
                                bool send_initial = true) {
        const auto initial = client.start(mechanism);
        AuthenticationStep last = begin(mechanism, send_initial ? initial : std::nullopt);
        if (!send_initial && initial && last.outcome == Outcome::challenge) last = step(*initial);
        while (last.outcome == Outcome::challenge) last = step(client.step(last.data));
        if (last.outcome == Outcome::success && !last.data.empty()) client.step(last.data);
        return last;
    }

    test::TemporaryDirectory directory_;
    asio::io_context events_;
    asio::thread_pool workers_{2};
    AuthenticationChannel channel_{{Ipv6Address(), 1}};
    std::unique_ptr<SaslAuthenticator> authenticator_;
    std::unique_ptr<Conversation> conversation_;
};

TEST_F(SaslAuthenticatorTest, EachMechanismAcceptsTheRightPasswordAndProvesItself) {
    for (const std::string mechanism : {"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"}) {
        SCOPED_TRACE(mechanism);
        SaslClient client("alice", realm, password);
        const AuthenticationStep last = exchange(mechanism, client);
        EXPECT_EQ(last.outcome, Outcome::success);
        EXPECT_EQ(last.user, "alice");
        EXPECT_TRUE(client.is_satisfied());
    }
}

TEST_F(SaslAuthenticatorTest, DataThatProvesTheServerComesWithSuccess) {
    SaslClient digest("alice", realm, password);
    EXPECT_TRUE(exchange("DIGEST-MD5", digest).data.starts_with("rspauth="));
    SaslClient scram("alice", realm, password);
    EXPECT_TRUE(exchange("SCRAM-SHA-256", scram).data.starts_with("v="));
}

TEST_F(SaslAuthenticatorTest, AnonymousHasNoUserAndNeedsNoResponse) {
    const AuthenticationStep last = begin("ANONYMOUS", std::nullopt);
    EXPECT_EQ(last.outcome, Outcome::success);
    EXPECT_EQ(last.user, "");
    EXPECT_EQ(last.data, "");
    EXPECT_EQ(begin("ANONYMOUS", "me@example").outcome, Outcome::success);
}

TEST_F(SaslAuthenticatorTest, AClientFirstMechanismMayComeWithoutItsFirstResponse) {
    for (const std::string mechanism : {"SCRAM-SHA-256", "PLAIN"}) {
        SCOPED_TRACE(mechanism);
        SaslClient client("alice", realm, password);
        EXPECT_EQ(exchange(mechanism, client, false).outcome, Outcome::success);
    }
}

TEST_F(SaslAuthenticatorTest, WrongPasswordsAndUnknownUsersFailAlike) {
    for (const std::string mechanism : {"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"}) {
        for (const char* const user : {"alice", "mallory", "bob"}) {
            SCOPED_TRACE(mechanism + " " + user);
            SaslClient client(user, realm, "wrong");
            const AuthenticationStep last = exchange(mechanism, client);
            EXPECT_EQ(last.outcome, Outcome::failure);
            EXPECT_EQ(last.user, "");
            EXPECT_EQ(last.data, "");
        }
    }
}

TEST_F(SaslAuthenticatorTest, NobodyActsForAnother) {
    const std::string other = std::string("root") + '\0' + "alice" + '\0' + password;
    EXPECT_EQ(begin("PLAIN", other).outcome, Outcome::failure);
}

TEST_F(SaslAuthenticatorTest, AUserOfAnotherRealmKeepsItsRealm) {
    SaslClient client("bob@elsewhere.example", "elsewhere.example", password);
    const AuthenticationStep last = exchange("PLAIN", client);
    EXPECT_EQ(last.outcome, Outcome::success);
    EXPECT_EQ(last.user, "bob@elsewhere.example");
}

TEST_F(SaslAuthenticatorTest, DigestChallengeSuitsOldClients) {
    const AuthenticationStep challenge = begin("DIGEST-MD5", std::nullopt);
    EXPECT_EQ(challenge.outcome, Outcome::challenge);
    EXPECT_NE(challenge.data.find("realm=\"campus.example\""), std::string::npos);
    EXPECT_NE(challenge.data.find("qop=\"auth\""), std::string::npos);
    EXPECT_NE(challenge.data.find("charset=utf-8"), std::string::npos);
    EXPECT_EQ(challenge.data.find(", "), std::string::npos);
}

// Old clients put the server string of their configuration there, whatever it is.
TEST_F(SaslAuthenticatorTest, DigestUriMayNameAnyHost) {
    for (const char* const host : {"[fd00:db8::1]:3653", "broker.example", "192.0.2.1"}) {
        SCOPED_TRACE(host);
        SaslClient client("alice", realm, password, host);
        EXPECT_EQ(exchange("DIGEST-MD5", client).outcome, Outcome::success);
    }
}

TEST_F(SaslAuthenticatorTest, NonsenseFailsInEveryStep) {
    const std::string zeros(100, '\0');
    for (const std::string& data : {std::string(), std::string("nonsense"), zeros,
                                    std::string(4000, '"'), std::string("a=b,c=d,e")}) {
        for (const std::string mechanism : {"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"}) {
            SCOPED_TRACE(mechanism + " " + data.substr(0, 10));
            // An empty first message of SCRAM is the same as none: the server asks for one.
            const bool client_first =
                mechanism == "PLAIN" || (mechanism == "SCRAM-SHA-256" && !data.empty());
            if (client_first) {
                EXPECT_EQ(begin(mechanism, data).outcome, Outcome::failure);
            } else {
                ASSERT_EQ(begin(mechanism, std::nullopt).outcome, Outcome::challenge);
                EXPECT_EQ(step(data).outcome, Outcome::failure);
            }
        }
        SaslClient client("alice", realm, password);
        ASSERT_EQ(begin("SCRAM-SHA-256", client.start("SCRAM-SHA-256")).outcome,
                  Outcome::challenge);
        EXPECT_EQ(step(data).outcome, Outcome::failure);
    }
}

TEST_F(SaslAuthenticatorTest, AStepAfterTheEndFailsAndDoesNoHarm) {
    SaslClient client("alice", realm, password);
    ASSERT_EQ(exchange("SCRAM-SHA-256", client).outcome, Outcome::success);
    EXPECT_EQ(step("again").outcome, Outcome::failure);
    ASSERT_EQ(begin("PLAIN", "nonsense").outcome, Outcome::failure);
    EXPECT_EQ(step("again").outcome, Outcome::failure);
}

TEST_F(SaslAuthenticatorTest, OnlyConfiguredMechanismsThatWorkAreListedInTheirOrder) {
    EXPECT_EQ(authenticator_->mechanisms(channel_), all);
    EXPECT_EQ(make({"ANONYMOUS", "NO-SUCH", "DIGEST-MD5"}, sasldb(), true)->mechanisms(channel_),
              (std::vector<std::string>{"ANONYMOUS", "DIGEST-MD5"}));
    EXPECT_EQ(make({"PLAIN", "ANONYMOUS"}, sasldb(), false)->mechanisms(channel_),
              (std::vector<std::string>{"ANONYMOUS"}));
}

TEST_F(SaslAuthenticatorTest, TheChannelDecidesWhatIsOffered) {
    const AuthenticationChannel tls{{}, true};
    const AuthenticationChannel certified{{}, true, "alice"};
    using Names = std::vector<std::string>;
    const auto one = make({"SCRAM-SHA-256", "PLAIN"}, sasldb(), false);
    EXPECT_EQ(one->mechanisms(channel_), (Names{"SCRAM-SHA-256"}));
    EXPECT_EQ(one->mechanisms(tls), (Names{"SCRAM-SHA-256", "PLAIN"}));
    EXPECT_EQ(one->mechanisms(certified), (Names{"EXTERNAL", "SCRAM-SHA-256", "PLAIN"}));
    const auto listed = make({"SCRAM-SHA-256", "EXTERNAL"}, sasldb(), false);
    EXPECT_EQ(listed->mechanisms(tls), (Names{"SCRAM-SHA-256"}));
    EXPECT_EQ(listed->mechanisms(certified), (Names{"SCRAM-SHA-256", "EXTERNAL"}));
}

TEST_F(SaslAuthenticatorTest, ExternalTakesTheCertificatesNameAndNoOther) {
    channel_.certified_name = "alice";
    const AuthenticationStep last = begin("EXTERNAL", "");
    EXPECT_EQ(last.outcome, Outcome::success);
    EXPECT_EQ(last.user, "alice");
    EXPECT_EQ(begin("EXTERNAL", "alice").outcome, Outcome::success) << "asks for what it is";
    EXPECT_EQ(begin("EXTERNAL", "root").outcome, Outcome::failure);
    channel_.certified_name = "";
    EXPECT_NE(begin("EXTERNAL", "").outcome, Outcome::success);
    EXPECT_NE(begin("EXTERNAL", "alice").outcome, Outcome::success);
}

TEST_F(SaslAuthenticatorTest, AMechanismThatIsNotConfiguredCannotBeStarted) {
    authenticator_ = make({"DIGEST-MD5"}, sasldb(), true);
    SaslClient client("alice", realm, password);
    EXPECT_NE(exchange("PLAIN", client).outcome, Outcome::success);
    EXPECT_NE(begin("ANONYMOUS", std::nullopt).outcome, Outcome::success);
}

TEST_F(SaslAuthenticatorTest, WithoutASasldbOnlyAnonymousGetsIn) {
    testing::internal::CaptureStderr();
    authenticator_ = make(all, directory_.file("missing"), true);
    EXPECT_NE(testing::internal::GetCapturedStderr().find("AUTH_SASLDB_UNREADABLE"),
              std::string::npos);
    EXPECT_EQ(begin("ANONYMOUS", std::nullopt).outcome, Outcome::success);
    for (const std::string mechanism : {"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"}) {
        SaslClient client("alice", realm, password);
        EXPECT_NE(exchange(mechanism, client).outcome, Outcome::success);
    }
}

TEST_F(SaslAuthenticatorTest, NothingSecretIsLogged) {
    testing::internal::CaptureStderr();
    for (const std::string mechanism : {"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"}) {
        SaslClient wrong("alice", realm, "swordfish");
        exchange(mechanism, wrong);
        SaslClient right("alice", realm, password);
        exchange(mechanism, right);
    }
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_NE(log.find("AUTH_FAILED"), std::string::npos);
    EXPECT_EQ(log.find("swordfish"), std::string::npos);
    EXPECT_EQ(log.find("wonder"), std::string::npos);
}

TEST_F(SaslAuthenticatorTest, TheEventThreadDoesNotWaitForTheLibrary) {
    asio::thread_pool one_worker(1);
    auto made = SaslAuthenticator::create({all, realm, sasldb(), true}, one_worker, events_);
    ASSERT_TRUE(made.has_value());
    std::promise<void> release;
    asio::post(one_worker, [&] { release.get_future().wait(); });

    bool done = false;
    bool other_work_ran = false;
    conversation_ = (*made)->start("ANONYMOUS", std::nullopt, channel_,
                                   [&](AuthenticationStep) { done = true; });
    asio::post(events_, [&] { other_work_ran = true; });
    EXPECT_TRUE(test::run_until(events_, [&] { return other_work_ran; }));
    EXPECT_FALSE(done);
    release.set_value();
    EXPECT_TRUE(test::run_until(events_, [&] { return done; }));
    one_worker.join();
}

TEST_F(SaslAuthenticatorTest, AnAbandonedConversationIsNeverHeardOfAgain) {
    bool called = false;
    for (int i = 0; i < 100; ++i) {
        auto conversation = authenticator_->start("DIGEST-MD5", std::nullopt, channel_,
                                                  [&](AuthenticationStep) { called = true; });
        conversation.reset();
    }
    workers_.join();
    test::run_ready(events_);
    EXPECT_FALSE(called);
}

TEST_F(SaslAuthenticatorTest, ManyConversationsAtOnceDoNotMixUp) {
    constexpr int count = 200;
    struct One {
        std::unique_ptr<SaslClient> client;
        std::unique_ptr<Conversation> conversation;
        std::optional<AuthenticationStep> last;
        bool should_succeed = false;
    };
    std::vector<One> all_of_them(count);
    std::function<void(One&, AuthenticationStep)> proceed = [&](One& one, AuthenticationStep step) {
        if (step.outcome != Outcome::challenge) {
            one.last = std::move(step);
            return;
        }
        one.conversation->step(Secret(one.client->step(step.data)),
                               [&](AuthenticationStep next) { proceed(one, std::move(next)); });
    };
    for (int i = 0; i < count; ++i) {
        One& one = all_of_them[static_cast<std::size_t>(i)];
        one.should_succeed = i % 3 != 0;
        one.client = std::make_unique<SaslClient>("alice", realm,
                                                  one.should_succeed ? password : "wrong");
        const std::string mechanism = i % 2 == 0 ? "SCRAM-SHA-256" : "DIGEST-MD5";
        const auto initial = one.client->start(mechanism);
        std::optional<Secret> secret;
        if (initial) secret.emplace(*initial);
        one.conversation =
            authenticator_->start(mechanism, std::move(secret), channel_,
                                  [&](AuthenticationStep step) { proceed(one, std::move(step)); });
    }
    for (One& one : all_of_them) {
        ASSERT_TRUE(test::run_until(events_, [&] { return one.last.has_value(); }));
        EXPECT_EQ(one.last->outcome == Outcome::success, one.should_succeed);
    }
}

}  // namespace
}  // namespace dstm::server
