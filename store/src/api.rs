use std::collections::BTreeMap;

use landfall_model::*;
use tokio::sync::broadcast;

use crate::*;

#[allow(unused_variables, missing_docs, clippy::todo, clippy::unused_async)]
impl Store {
    pub async fn open(config: StoreConfig) -> Result<Self> {
        todo!()
    }
    pub async fn close(&self) {
        todo!()
    }
    pub async fn ping(&self) -> Result<()> {
        todo!()
    }
    pub fn changes(&self) -> broadcast::Receiver<AppId> {
        todo!()
    }
    pub fn platform_domain(&self) -> &str {
        todo!()
    }
    pub fn system(&self) -> SystemScope {
        todo!()
    }
    // access
    pub async fn authenticate_token(&self, token: &str) -> Result<Option<Principal>> {
        todo!()
    }
    pub async fn authenticate_password(&self, email: &str, password: &str) -> Result<Option<Principal>> {
        todo!()
    }
    pub async fn principal_for_key(&self, fingerprint: &str) -> Result<Option<Principal>> {
        todo!()
    }
    pub async fn principal_for_account(&self, system: &SystemScope, account: AccountId) -> Result<Principal> {
        todo!()
    }
    pub async fn authorize(&self, principal: &Principal, app: &AppIdentity) -> Result<AppScope> {
        todo!()
    }
    // accounts
    pub async fn account_create_first(&self, system: &SystemScope, new: NewAccount) -> Result<Account> {
        todo!()
    }
    pub async fn account_create(&self, admin: &Principal, new: NewAccount) -> Result<Account> {
        todo!()
    }
    pub async fn account_get(&self, principal: &Principal) -> Result<Account> {
        todo!()
    }
    pub async fn account_list(&self, system: &SystemScope) -> Result<Vec<Account>> {
        todo!()
    }
    pub async fn account_update(&self, principal: &Principal, name: Option<String>, password_hash: Option<String>) -> Result<Account> {
        todo!()
    }
    // authorizations
    pub async fn authorization_create(&self, principal: &Principal, new: NewAuthorization) -> Result<(Authorization, SecretString)> {
        todo!()
    }
    pub async fn authorization_list(&self, principal: &Principal) -> Result<Vec<Authorization>> {
        todo!()
    }
    pub async fn authorization_get(&self, principal: &Principal, id: AuthorizationId) -> Result<Authorization> {
        todo!()
    }
    pub async fn authorization_delete(&self, principal: &Principal, id: AuthorizationId) -> Result<Authorization> {
        todo!()
    }
    // keys
    pub async fn key_create(&self, principal: &Principal, public_key: &str) -> Result<SshKey> {
        todo!()
    }
    pub async fn key_list(&self, principal: &Principal) -> Result<Vec<SshKey>> {
        todo!()
    }
    pub async fn key_delete(&self, principal: &Principal, id_or_fingerprint: &str) -> Result<SshKey> {
        todo!()
    }
    // collaborators
    pub async fn collaborator_list(&self, scope: &AppScope) -> Result<Vec<Collaborator>> {
        todo!()
    }
    pub async fn collaborator_add(&self, scope: &AppScope, email: &str) -> Result<Collaborator> {
        todo!()
    }
    pub async fn collaborator_remove(&self, scope: &AppScope, email_or_id: &str) -> Result<Collaborator> {
        todo!()
    }
    // apps
    pub async fn app_create(&self, principal: &Principal, new: NewApp) -> Result<App> {
        todo!()
    }
    pub async fn app_list(&self, principal: &Principal) -> Result<Vec<App>> {
        todo!()
    }
    pub async fn app_get(&self, scope: &AppScope) -> Result<App> {
        todo!()
    }
    pub async fn app_rename(&self, scope: &AppScope, name: &AppName) -> Result<App> {
        todo!()
    }
    pub async fn app_maintenance_set(&self, scope: &AppScope, on: bool) -> Result<App> {
        todo!()
    }
    pub async fn app_stack_set(&self, scope: &AppScope, stack: &str) -> Result<App> {
        todo!()
    }
    pub async fn app_destroy(&self, scope: &AppScope) -> Result<App> {
        todo!()
    }
    pub async fn app_purge(&self, system: &SystemScope, app: AppId) -> Result<()> {
        todo!()
    }
    // config
    pub async fn config_get(&self, scope: &AppScope) -> Result<ConfigVars> {
        todo!()
    }
    pub async fn config_patch(&self, scope: &AppScope, changes: &BTreeMap<ConfigKey, Option<SecretString>>) -> Result<ConfigPatched> {
        todo!()
    }
    // builds, slugs
    pub async fn build_create(&self, scope: &AppScope, new: NewBuild) -> Result<Build> {
        todo!()
    }
    pub async fn build_get(&self, scope: &AppScope, id: BuildId) -> Result<Build> {
        todo!()
    }
    pub async fn build_list(&self, scope: &AppScope, max: u32) -> Result<Vec<Build>> {
        todo!()
    }
    pub async fn build_finish(&self, scope: &AppScope, id: BuildId, slug: NewSlug) -> Result<(Build, Release)> {
        todo!()
    }
    pub async fn build_fail(&self, scope: &AppScope, id: BuildId, reason: &str) -> Result<Build> {
        todo!()
    }
    pub async fn build_cancel(&self, scope: &AppScope, id: BuildId) -> Result<Build> {
        todo!()
    }
    pub async fn builds_interrupt(&self, system: &SystemScope, live_workers: &[String]) -> Result<Vec<(AppId, BuildId)>> {
        todo!()
    }
    pub async fn slug_get(&self, scope: &AppScope, id: SlugId) -> Result<Slug> {
        todo!()
    }
    pub async fn images_in_use(&self, system: &SystemScope) -> Result<Vec<String>> {
        todo!()
    }
    // releases
    pub async fn release_list(&self, scope: &AppScope, range: ReleaseRange) -> Result<Vec<Release>> {
        todo!()
    }
    pub async fn release_get(&self, scope: &AppScope, release: ReleaseRef) -> Result<Release> {
        todo!()
    }
    pub async fn release_config(&self, scope: &AppScope, release: ReleaseRef) -> Result<ConfigVars> {
        todo!()
    }
    pub async fn release_finish(&self, scope: &AppScope, id: ReleaseId, outcome: ReleaseOutcome) -> Result<Release> {
        todo!()
    }
    pub async fn release_rollback(&self, scope: &AppScope, to: ReleaseRef) -> Result<Release> {
        todo!()
    }
    // formation
    pub async fn formation_list(&self, scope: &AppScope) -> Result<Vec<Formation>> {
        todo!()
    }
    pub async fn formation_update(&self, scope: &AppScope, changes: &[FormationChange]) -> Result<Vec<Formation>> {
        todo!()
    }
    pub async fn restart(&self, scope: &AppScope, target: &RestartTarget) -> Result<u64> {
        todo!()
    }
    // domains
    pub async fn domain_list(&self, scope: &AppScope) -> Result<Vec<Domain>> {
        todo!()
    }
    pub async fn domain_get(&self, scope: &AppScope, hostname_or_id: &str) -> Result<Domain> {
        todo!()
    }
    pub async fn domain_add(&self, scope: &AppScope, hostname: &Hostname) -> Result<Domain> {
        todo!()
    }
    pub async fn domain_remove(&self, scope: &AppScope, hostname_or_id: &str) -> Result<Domain> {
        todo!()
    }
    // audit, settings
    pub async fn audit_append(&self, event: &AuditEvent) -> Result<()> {
        todo!()
    }
    pub async fn audit_list(&self, admin: &Principal, max: u32) -> Result<Vec<AuditEntry>> {
        todo!()
    }
    pub async fn setting_get(&self, system: &SystemScope, key: &str) -> Result<Option<String>> {
        todo!()
    }
    pub async fn setting_set(&self, system: &SystemScope, key: &str, value: &str) -> Result<()> {
        todo!()
    }
    // desired
    pub async fn desired_all(&self, system: &SystemScope) -> Result<Vec<DesiredApp>> {
        todo!()
    }
    pub async fn desired(&self, system: &SystemScope, app: AppId) -> Result<Option<DesiredApp>> {
        todo!()
    }
}
