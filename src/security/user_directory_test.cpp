#include "security/user_directory.h"

#include <sys/stat.h>

#include <gmock/gmock.h>

#include "security/test_identity.h"

namespace appmesh::security {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class UserDirectoryTest : public testing::Test {
 protected:
  UserChange change(std::string password = "s3cret Pass") {
    return {.password = std::move(password), .group = "dev", .roles = std::vector<std::string>{"view"}};
  }
  void put(const std::string& name) {
    const auto done = home_.users().put_user(kDaemon, name, change(), platform::wall_now());
    ASSERT_TRUE(done) << done.error().message;
  }
  const User* find(const std::string& name) {
    kept_ = home_.users().snapshot();
    return kept_->find(name);
  }

  TestIdentity home_;
  std::shared_ptr<const UserSnapshot> kept_;
};

TEST_F(UserDirectoryTest, WithoutAFileThereAreTheFourRolesAndAnAdminWhoHasThemAll) {
  home_.open();
  const auto snapshot = home_.users().snapshot();
  EXPECT_EQ(snapshot->roles().size(), 4U);
  EXPECT_THAT(snapshot->roles().at("shell"),
              ElementsAre("app-run-async", "app-run-pty", "app-run-sync", "app-run-task"));
  EXPECT_EQ(snapshot->roles().at("view").size(), 12U);
  EXPECT_EQ(snapshot->roles().at("manage").size(), 9U);
  EXPECT_EQ(snapshot->roles().at("usermgr").size(), 10U);
  EXPECT_EQ(snapshot->all_permissions().size(), 35U);
  EXPECT_EQ(snapshot->principal("admin")->permissions, snapshot->all_permissions());
  EXPECT_TRUE(snapshot->principal("admin")->may("app-reg"));
  EXPECT_FALSE(snapshot->principal("admin")->may("app-re"));
}

TEST_F(UserDirectoryTest, ThePermissionsOfTheBuiltInRolesAreSorted) {
  home_.open();
  for (const auto& [role, permissions] : home_.users().snapshot()->roles()) {
    EXPECT_TRUE(std::ranges::is_sorted(permissions)) << role;
  }
}

TEST_F(UserDirectoryTest, PlainPasswordsOfAHandWrittenFileAreHashedInTheFileAtLoad) {
  home_.write_security_yaml(
      "Users:\n  mesh:\n    key: plain-text-7\n    group: dev\n    roles: [view, unknown-role]\nRoles:\n  view: "
      "[app-view]\n");
  home_.open();
  EXPECT_TRUE(check_password(find("mesh")->key, "plain-text-7").matches);
  EXPECT_THAT(home_.read_security_yaml(), Not(HasSubstr("plain-text-7")));
  EXPECT_THAT(home_.read_security_yaml(), HasSubstr("$argon2id$"));
  struct stat info{};
  ASSERT_EQ(::stat(home_.paths().security_file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_THAT(home_.users().snapshot()->principal("mesh")->permissions, ElementsAre("app-view"));
  const std::string key = find("mesh")->key;
  home_.open();
  EXPECT_EQ(find("mesh")->key, key) << "the second load hashes nothing";
}

TEST_F(UserDirectoryTest, TheTemplateIsReadWhenThereIsNoChangedCopyAndIsNeverWritten) {
  const std::string text = "Users: {admin: {roles: [r]}, tom: {key: tom-plain-1}}\nRoles: {r: [app-view]}\n";
  ASSERT_TRUE(platform::write_file_atomic(home_.paths().config / "security.yaml", text, 0644));
  home_.open();
  EXPECT_NE(find("tom"), nullptr);
  EXPECT_EQ(platform::read_file(home_.paths().config / "security.yaml", 4096).value(), text);
  EXPECT_TRUE(std::filesystem::exists(home_.paths().security_file));
}

TEST_F(UserDirectoryTest, ChangesAreOnDiskAndSurviveAReopen) {
  home_.open();
  auto user = change();
  user.email = "a@b: \"quoted\" \\ #x";
  user.metadata = "line one\nline two: ü";
  user.exec_user = "nobody";
  ASSERT_TRUE(home_.users().put_user(kDaemon, "123", std::move(user), platform::wall_now()));
  ASSERT_TRUE(home_.users().set_role(kDaemon, "true", {"app-view", "app-reg", "app-view"}));
  const User before = *find("123");
  home_.open();
  ASSERT_NE(find("123"), nullptr);
  EXPECT_EQ(*find("123"), before);
  EXPECT_THAT(kept_->roles().at("true"), ElementsAre("app-reg", "app-view"));
}

TEST_F(UserDirectoryTest, ANewUserNeedsAPasswordAndAnExistingOneKeepsHis) {
  home_.open();
  auto without = change();
  without.password.reset();
  EXPECT_EQ(home_.users().put_user(kDaemon, "tom", without, platform::wall_now()).error().kind,
            ErrorKind::invalid_argument);
  put("tom");
  const User before = *find("tom");
  without.roles = std::vector<std::string>{"view", "shell"};
  without.group = "ops";
  ASSERT_TRUE(home_.users().put_user(kDaemon, "tom", without, platform::wall_now()));
  EXPECT_EQ(find("tom")->key, before.key);
  EXPECT_EQ(find("tom")->token_epoch, before.token_epoch);
  EXPECT_EQ(find("tom")->group, "ops");
  EXPECT_TRUE(kept_->principal("tom")->may("app-run-sync"));
}

TEST_F(UserDirectoryTest, BadUsersAreRefusedWithTheFieldAndLeaveNothingBehind) {
  home_.open();
  const std::string file = home_.read_security_yaml();
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a/b"), std::string("a:b"), std::string("a*"),
        std::string("self"), std::string("."), std::string(".."), std::string(200, 'x'), std::string("a\nb")}) {
    const auto refused = home_.users().put_user(kDaemon, name, change(), platform::wall_now());
    ASSERT_FALSE(refused) << name;
    EXPECT_THAT(refused.error().message, HasSubstr("user name"));
  }
  auto bad = change();
  bad.email = std::string(300, 'x');
  EXPECT_THAT(home_.users().put_user(kDaemon, "tom", bad, platform::wall_now()).error().message, HasSubstr("email"));
  bad = change();
  bad.mfa_enabled = true;
  EXPECT_THAT(home_.users().put_user(kDaemon, "tom", bad, platform::wall_now()).error().message,
              HasSubstr("mfa_enabled"));
  EXPECT_EQ(home_.read_security_yaml(), file);
  EXPECT_EQ(home_.users().snapshot()->users().size(), 1U);
}

TEST_F(UserDirectoryTest, AdminCanBeNeitherLockedNorDeleted) {
  home_.open();
  EXPECT_EQ(home_.users().set_locked("admin", true).error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(home_.users().delete_user("admin").error().kind, ErrorKind::invalid_argument);
  auto locked = change();
  locked.locked = true;
  EXPECT_EQ(home_.users().put_user(kDaemon, "admin", locked, platform::wall_now()).error().kind,
            ErrorKind::invalid_argument);
  EXPECT_TRUE(home_.users().set_locked("admin", false));
  EXPECT_EQ(home_.users().set_locked("nobody", true).error().kind, ErrorKind::not_found);
  EXPECT_EQ(home_.users().delete_user("nobody").error().kind, ErrorKind::not_found);
}

TEST_F(UserDirectoryTest, APasswordChangeNeedsTheOldOneAndMovesTheEpoch) {
  home_.open();
  put("tom");
  const auto now = platform::wall_now();
  const auto epoch = find("tom")->token_epoch;
  EXPECT_EQ(home_.users().change_password("tom", "wrong", "n3w Password", now).error().kind,
            ErrorKind::invalid_argument);
  EXPECT_EQ(home_.users().change_password("ghost", "wrong", "n3w Password", now).error().kind, ErrorKind::not_found);
  EXPECT_EQ(find("tom")->token_epoch, epoch);
  ASSERT_TRUE(home_.users().change_password("tom", "s3cret Pass", "n3w Password", now));
  EXPECT_GT(find("tom")->token_epoch, epoch);
  EXPECT_TRUE(check_password(find("tom")->key, "n3w Password").matches);
  EXPECT_FALSE(check_password(find("tom")->key, "s3cret Pass").matches);
}

TEST_F(UserDirectoryTest, AnEmptyRoleIsDeletedAndDeletingAnUnknownOneSucceeds) {
  home_.open();
  ASSERT_TRUE(home_.users().set_role(kDaemon, "extra", {"app-view"}));
  ASSERT_TRUE(home_.users().set_role(kDaemon, "extra", {}));
  EXPECT_FALSE(home_.users().snapshot()->roles().contains("extra"));
  EXPECT_TRUE(home_.users().delete_role(kDaemon, "extra"));
  EXPECT_FALSE(home_.users().set_role(kDaemon, "extra", {"has space"}));
  EXPECT_FALSE(home_.users().set_role(kDaemon, "a/b", {"app-view"}));
}

TEST_F(UserDirectoryTest, AChangeThatCannotBeSavedIsNotVisible) {
  home_.open();
  put("tom");
  std::filesystem::remove_all(home_.paths().work_config);
  const auto generation = home_.users().generation();
  EXPECT_FALSE(home_.users().set_locked("tom", true));
  EXPECT_FALSE(find("tom")->locked);
  EXPECT_EQ(home_.users().generation(), generation);
}

TEST_F(UserDirectoryTest, AReloadTakesAnEditedFileAndABrokenOneChangesNothing) {
  home_.open();
  home_.write_security_yaml("Users: {admin: {key: changed-by-hand}, eva: {key: eva-plain}}\nRoles: {}\n");
  ASSERT_TRUE(home_.users().reload());
  EXPECT_NE(find("eva"), nullptr);
  EXPECT_TRUE(kept_->principal("admin")->permissions.empty());
  for (const char* broken :
       {"Users: [", "Users: {eva: {key: sekret-1, locked: perhaps}}", "Users: {eva: [sekret-1]}", "- sekret-1",
        "Users: {eva: {key: $argon2id$sekret-1}}", "Users: {\"a/b\": {key: sekret-1}}",
        "Users: {eva: {key: sekret-1, roles: view}}", "Roles: {r: {sekret-1: 2}}"}) {
    home_.write_security_yaml(broken);
    const auto loaded = home_.users().reload();
    ASSERT_FALSE(loaded) << broken;
    EXPECT_THAT(loaded.error().message, Not(HasSubstr("sekret-1")));
    EXPECT_NE(find("eva"), nullptr);
  }
}

TEST_F(UserDirectoryTest, TotpSecretsOfAHandWrittenFileAreSealedForTheirUser) {
  home_.write_security_yaml(
      "Users:\n  mesh: {key: plain-text-7, mfa_enabled: true, mfa_key: JBSWY3DPEHPK3PXP}\n"
      "  waiting: {key: plain-text-8, mfa_key: KRUGKIDROVUWG2ZA}\n");
  home_.open();
  EXPECT_THAT(home_.read_security_yaml(), Not(HasSubstr("JBSWY3DPEHPK3PXP")));
  EXPECT_THAT(home_.read_security_yaml(), Not(HasSubstr("KRUGKIDROVUWG2ZA")));
  EXPECT_EQ(home_.users().totp_secret(*find("mesh")).value(), "JBSWY3DPEHPK3PXP");
  EXPECT_EQ(home_.users().next_totp_secret(*find("waiting")).value(), "KRUGKIDROVUWG2ZA");
  EXPECT_FALSE(home_.users().totp_secret(*find("waiting"))) << "not on";
  User other = *find("mesh");
  other.name = "eva";
  EXPECT_FALSE(home_.users().totp_secret(other)) << "sealed for one user, worth nothing to another";
}

TEST_F(UserDirectoryTest, ANameThatWasGivenAgainIsAnotherAccount) {
  home_.write_security_yaml("Users: {admin: {key: plain-text-6}, tom: {key: plain-text-7}}\n");
  home_.open();
  EXPECT_EQ(find("tom")->as_owner(), "tom") << "the first of its name, as older definitions say it";
  ASSERT_TRUE(home_.users().delete_user("tom"));
  put("tom");
  const std::string second = find("tom")->as_owner();
  EXPECT_THAT(second, testing::StartsWith("tom/"));
  EXPECT_EQ(kept_->find_owner("tom"), nullptr);
  EXPECT_NE(kept_->find_owner(second), nullptr);
  home_.open();
  EXPECT_EQ(find("tom")->as_owner(), second);
  ASSERT_TRUE(home_.users().delete_user("tom"));
  home_.write_security_yaml(home_.read_security_yaml() + "\n");
  put("tom");
  EXPECT_NE(find("tom")->as_owner(), second);

  // Neither is one that is written into the file.
  home_.write_security_yaml("Users: {admin: {key: plain-text-6}, tom: {key: plain-text-7}}\nRetired: [tom]\n");
  home_.open();
  EXPECT_THAT(find("tom")->as_owner(), testing::StartsWith("tom/"));
  EXPECT_THAT(home_.read_security_yaml(), HasSubstr(find("tom")->id));
}

TEST_F(UserDirectoryTest, TwoUsersWithOneIdAreRefused) {
  home_.open();
  home_.write_security_yaml("Users: {ann: {key: k-1, id: a1}, tom: {key: k-2, id: a1}}\n");
  EXPECT_THAT(home_.users().reload().error().message, HasSubstr("Users.tom: id"));
}

}  // namespace
}  // namespace appmesh::security
